/**
 * The time of a step, by kind, on the slowest rank of the slowest pipeline stage. The kinds add up to the step.
 */
import type { Cluster } from '../inputs/cluster.ts'
import type { Layout } from '../inputs/layout.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import type { ParameterCounts } from '../work/parameter-counts.ts'
import { type PipelineStage, stageCounts, type Workload } from '../work/stages.ts'
import type { ComponentTimes } from './device-time.ts'
import { microBatchSeconds } from './micro-batch.ts'
import { type ReceivedGradients, stepEnd } from './step-end.ts'
import { type SecondsByKind, timeKinds, zeroes } from './time-kinds.ts'

export interface Time {
  /** Exposed time; the parts add up to the step. */
  readonly parts: SecondsByKind
  readonly stepSeconds: number
  /** Communication hidden by computation. */
  readonly overlappedSeconds: number
  /** Gradients that the busiest rank receives in a step. */
  readonly gradients: ReceivedGradients
}

export function timeOf(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  counts: ParameterCounts,
  workload: Workload,
  times: ComponentTimes,
): Time {
  const stages = eachDistinct(workload.stages, isSameWork, (stage) =>
    microBatchSeconds(run, cluster, layout, workload, stage, times),
  )
  const slowest = stages.reduce((a, b) => (b.total > a.total ? b : a))
  const { microBatches } = layout
  const seconds = zeroes()
  for (const kind of timeKinds) seconds[kind] = microBatches * slowest.parts[kind]
  // The first micro-batch has to pass all stages and come back. Interleaved stages start sooner.
  const fill = stages.reduce((sum, { total }) => sum + total, 0) - slowest.total
  seconds['pipeline bubble'] += fill / layout.virtualStages

  const ends = eachDistinct(workload.stages, isSameWork, (stage) =>
    stepEnd(run, cluster, layout, stageCounts(counts, stage, layout.pipeline), stage.layers.length, slowest),
  )
  const end = ends.reduce((a, b) => (b.total > a.total ? b : a))
  seconds['gradient exchange'] += end.exchange.exposed
  seconds['weight gathering'] += end.gathering.exposed
  seconds.optimizer += end.optimizer
  seconds.offload += end.offload.exposed
  const stepSeconds = timeKinds.reduce((sum, kind) => sum + seconds[kind], 0)
  return {
    parts: seconds,
    stepSeconds,
    overlappedSeconds: microBatches * slowest.hidden + end.exchange.hidden + end.gathering.hidden + end.offload.hidden,
    gradients: ends.reduce((a, b) => (b.gradients.bytes > a.gradients.bytes ? b : a)).gradients,
  }
}

/** Exposed time of a micro-batch on the slowest rank of a stage. */
export interface StageTime {
  readonly parts: SecondsByKind
  /** Share of the time that the forward pass takes; exposed communication is shared out as computation is. */
  readonly forwardShare: number
}

/** The times of a micro-batch by stage, in the order of the layers. */
export const stageTimesOf = (
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  workload: Workload,
  times: ComponentTimes,
): StageTime[] =>
  eachDistinct(workload.stages, isSameWork, (stage) => {
    const { parts, forward, backward } = microBatchSeconds(run, cluster, layout, workload, stage, times)
    return { parts, forwardShare: forward / (forward + backward) }
  })

/** The results for all values. Equal values share a result. */
function eachDistinct<Value, Result>(
  values: readonly Value[],
  isSame: (a: Value, b: Value) => boolean,
  compute: (value: Value) => Result,
): Result[] {
  const known: { value: Value; result: Result }[] = []
  return values.map((value) => {
    const same = known.find((each) => isSame(each.value, value))
    if (same) return same.result
    const result = compute(value)
    known.push({ value, result })
    return result
  })
}

const isSameWork = (a: PipelineStage, b: PipelineStage): boolean =>
  a.ends.length === b.ends.length &&
  a.ends.every((end, i) => end === b.ends[i]) &&
  a.layers.length === b.layers.length &&
  a.layers.every((layer, i) => layer === b.layers[i])
