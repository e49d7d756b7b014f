/** Lists all legal layouts of a run on a cluster and ranks them. */
import { UsageError } from '../../../core/errors.ts'
import { greatestCommonDivisor } from '../cost/network.ts'
import { type Prediction, Predictor } from '../cost/predict.ts'
import type { Cluster } from '../inputs/cluster.ts'
import type { Program } from '../inputs/constants.ts'
import { marginOf } from '../inputs/intervals.ts'
import type { Layout, Offload, Recompute } from '../inputs/layout.ts'
import type { PlannedRun, PlanSettings } from '../inputs/settings.ts'
import { balancedLoads, type ModelLoads } from '../work/load.ts'
import type { ModelTraffic } from '../work/mixture.ts'
import { canSplit, check, noLayout } from './check.ts'

export interface Ranking {
  readonly predictor: Predictor
  /** Layouts that fit with the probability `plan.fitsWith`, the fastest first. */
  readonly fitting: readonly Prediction[]
  /** Layouts that do not fit, in order of the memory that they lack. */
  readonly rejected: readonly Prediction[]
}

/** @throws UsageError if fixed settings of the plan contradict each other, the model or the cluster */
export function rank(
  run: PlannedRun,
  cluster: Cluster,
  loads: ModelLoads = balancedLoads(run.model),
  traffic: ModelTraffic | null = null,
): Ranking {
  const predictor = new Predictor(run, cluster, loads, traffic)
  const fitting: Prediction[] = []
  const rejected: Prediction[] = []
  const lacking = (prediction: Prediction) => lackingBytes(cluster, prediction, run.plan.fitsWith)
  for (const layout of layoutsOf(run, cluster)) {
    const prediction = predictor.predict(layout)
    if (lacking(prediction) > 0) rejected.push(prediction)
    else fitting.push(prediction)
  }
  return {
    predictor,
    fitting: fitting.sort((a, b) => grade(a) - grade(b) || compareSavings(a, b) || bytesOf(a) - bytesOf(b)),
    rejected: rejected.sort((a, b) => lacking(a) - lacking(b)),
  }
}

/**
 * Logarithm of the step time in thousandths. Layouts of equal grade count as equally fast: the simpler one comes first.
 */
const grade = ({ time: { stepSeconds } }: Prediction): number => Math.round(1000 * Math.log(stepSeconds))

/** Orders layouts that do less to save memory, and then simpler ones, first. */
function compareSavings({ layout: a }: Prediction, { layout: b }: Prediction): number {
  return (
    offloads.indexOf(a.offload) - offloads.indexOf(b.offload) ||
    recomputeRank(a) - recomputeRank(b) ||
    a.zero - b.zero ||
    a.microBatches - b.microBatches ||
    a.context - b.context ||
    a.virtualStages - b.virtualStages ||
    b.expertTensor - a.expertTensor
  )
}

const offloads: readonly Offload[] = ['none', 'optimizer', 'all']
const recomputes = {
  megatron: ['none', 'selective', 'full'],
  fsdp: ['none', 'operations', 'full'],
} as const satisfies Readonly<Record<Program, readonly Recompute[]>>

/** A list of modules is never compared with another setting, since a plan that has one has no other. */
const recomputeRank = ({ recompute }: Layout): number =>
  ({ none: 0, selective: 1, operations: 1, full: 2 })[typeof recompute === 'string' ? recompute : 'none']

const bytesOf = ({ memory: { deviceBytes } }: Prediction): number => deviceBytes

/**
 * Bytes that a layout lacks on the device or its host to fit with a probability; at most 0 if it fits. A host of unknown
 * memory counts as large enough. If the device was measured itself, predictions have no probability and are compared as
 * they are.
 */
export function lackingBytes(
  { device }: Cluster,
  { memory: { deviceBytes, hostBytes }, interval }: Prediction,
  probability = 0.5,
): number {
  const margin = interval ? marginOf(probability, interval.memory) : 1
  return Math.max(
    margin * deviceBytes - device.memory,
    margin * hostBytes - (device.hostMemory ?? Number.POSITIVE_INFINITY),
  )
}

/** Layouts that no other beats in both time and memory, the fastest first. */
export function paretoFront(fitting: readonly Prediction[]): Prediction[] {
  const front: Prediction[] = []
  const sorted = [...fitting].sort((a, b) => a.time.stepSeconds - b.time.stepSeconds || bytesOf(a) - bytesOf(b))
  for (const each of sorted) {
    const last = front.at(-1)
    if (!last || bytesOf(each) < bytesOf(last)) front.push(each)
  }
  return front
}

/** Lists the legal layouts. @throws UsageError if there is none */
export function layoutsOf(run: PlannedRun, cluster: Cluster): Layout[] {
  check(run, cluster)
  const { plan, train } = run
  const { parallel } = plan
  const { devices } = cluster
  // Ranks that exchange through owners share batches and experts only.
  const alone = plan.exchange === 'owners' ? 1 : null
  const layouts: Layout[] = []
  const tensors = candidates(parallel.tensor ?? alone, divisors(cluster.devicesPerNode)).filter((t) => canSplit(run, t))
  for (const tensor of tensors)
    for (const pipeline of candidates(parallel.pipeline ?? alone, divisors(devices)))
      for (const context of candidates(parallel.context ?? alone, contextSizes(run, cluster))) {
        const data = devices / tensor / pipeline / context
        if (!Number.isInteger(data) || train.batch % data !== 0) continue
        if (parallel.data !== null && parallel.data !== data) continue
        if (parallel.shard !== null && (data * context) % Math.min(parallel.shard, data * context) !== 0) continue
        for (const expertTensor of expertTensors(run, tensor)) {
          // Number of groups of devices that can hold different experts.
          const places = (data * context * tensor) / expertTensor
          for (const expert of candidates(parallel.expert, expertSizes(run, places)))
            if (places % expert === 0)
              for (const virtualStages of partsOf(run, pipeline))
                for (const settings of otherSettings(run, cluster, { data, context, pipeline, virtualStages }))
                  layouts.push({ data, expert, tensor, pipeline, context, expertTensor, virtualStages, ...settings })
        }
      }
  if (layouts.length > 0) return layouts
  throw new UsageError(noLayout(run, cluster))
}

/** ZeRO stages to search. */
function zeroStages({ program, exchange }: PlanSettings, ranks: number, pipeline: number): number[] {
  if (program === 'fsdp') return pipeline > 1 ? [2] : [2, 3]
  if (ranks === 1) return [0]
  // ZeRO 2 and 3 exchange gradients or weights for every micro-batch, and a pipeline has several in flight.
  return exchange === 'owners' ? [1] : pipeline > 1 ? [0, 1] : [0, 1, 2, 3]
}

/**
 * Sizes of context-parallel groups to search: a sequence is cut into two blocks for each device, an early and a late one,
 * so that all devices see equally many keys.
 */
const contextSizes = ({ model, plan }: PlannedRun, { devices }: Cluster): number[] =>
  divisors(devices).filter(
    (context) =>
      context === 1 || (model.sequence % (2 * context) === 0 && model.sequence / context >= plan.crossEntropy.chunks),
  )

/** Numbers of devices that share an expert. Division needs a width that the devices divide. */
function expertTensors({ model: { moe }, plan }: PlannedRun, tensor: number): number[] {
  const { expertTensor } = plan.parallel
  if (expertTensor !== null) return [expertTensor === 1 ? 1 : tensor]
  const sizes = tensor > 1 && moe ? [tensor, 1] : [tensor]
  return sizes.filter((size) => !moe || moe.hidden % size === 0)
}

/** Numbers of parts of a pipeline stage. Those that are searched have equally many layers. */
function partsOf({ model: { layers }, plan }: PlannedRun, pipeline: number): number[] {
  const all = divisors(layers).filter((parts) => parts === 1 || (pipeline > 1 && layers % (pipeline * parts) === 0))
  return candidates(plan.virtualStages, all).filter(
    (parts) => pipeline * parts <= layers && (parts === 1 || pipeline > 1),
  )
}

function* otherSettings(
  run: PlannedRun,
  cluster: Cluster,
  { data, context, pipeline, virtualStages }: Pick<Layout, 'data' | 'context' | 'pipeline' | 'virtualStages'>,
) {
  const { plan, train } = run
  const stages = zeroStages(plan, data * context, pipeline)
  const offloadOptions = offloads.filter((each) => each === 'none' || cluster.links.host)
  // Interleaved stages process micro-batches in rounds, one for each stage.
  const round = virtualStages > 1 ? pipeline : 1
  for (const zero of candidates(plan.zero, stages))
    for (const recompute of candidates<Recompute>(plan.recompute, recomputes[plan.program]))
      for (const microBatches of candidates(plan.microBatches, divisors(train.batch / data)))
        if (
          (train.batch / data) % microBatches === 0 &&
          microBatches % round === 0 &&
          groupsDivide(run, data, microBatches)
        )
          for (const offload of candidates(plan.offload, offloadOptions))
            yield { zero, recompute, microBatches, offload }
}

/** Whether micro-batches split into equal groups of tokens. */
const groupsDivide = ({ model, train }: PlannedRun, data: number, microBatches: number): boolean =>
  ((train.batch / data / microBatches) * model.sequence) % (model.moe?.groups ?? 1) === 0

const candidates = <T>(fixed: T | null, all: readonly T[]): readonly T[] => (fixed === null ? all : [fixed])

const expertSizes = ({ model }: PlannedRun, places: number): number[] =>
  model.moe ? divisors(greatestCommonDivisor(model.moe.experts, places)) : [1]

/** All divisors of a number, in increasing order. */
export function divisors(n: number): number[] {
  const found: number[] = []
  for (let d = 1; d * d <= n; d++) if (n % d === 0) found.push(...(d * d === n ? [d] : [d, n / d]))
  return found.sort((a, b) => a - b)
}
