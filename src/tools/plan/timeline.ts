/**
 * The predicted step as a timeline: a row for each pipeline stage, with its passes, what they spend their time on, the
 * waits between them, and the end of the step. It shows the slowest rank of each stage.
 */
import type { StepEvent } from '../../engine/contract/times.ts'
import { type ScheduledPass, schedulePasses } from './cost/pipeline-schedule.ts'
import { type Prediction, Predictor } from './cost/predict.ts'
import type { StageTime } from './cost/time.ts'
import { type SecondsByKind, type TimeKind, timeKinds } from './cost/time-kinds.ts'
import { loadsOf, type Plan } from './plan.ts'
import { trafficImbalance } from './work/measured-traffic.ts'

/** Times after the passes, in their order. */
const atEnd = ['gradient exchange', 'offload', 'optimizer', 'weight gathering'] as const

/** Largest number of passes of which the parts are shown too: a trace with more is slow to open. */
const DETAILED_PASSES = 4000

/** The events of the predicted step, in milliseconds from its begin; the thread of an event is its stage. */
export async function planTimeline({ run, cluster, traffic }: Plan, best: Prediction): Promise<StepEvent[]> {
  const { loads } = await loadsOf(run)
  const imbalance = traffic ? trafficImbalance(traffic, run.model.layers) : null
  const stages = new Predictor(run, cluster, loads, imbalance).stageTimes(best.layout)
  return timelineOf(stages, best, best.layout.virtualStages)
}

export function timelineOf(
  stages: readonly StageTime[],
  { layout, time }: Pick<Prediction, 'layout' | 'time'>,
  chunks: number,
): StepEvent[] {
  const totals = stages.map(({ parts }) => sumOf(parts))
  const passes = schedulePasses(
    stages.map(({ forwardShare }, stage) => {
      const total = totals[stage] as number
      return { forward: total * forwardShare, backward: total * (1 - forwardShare) }
    }),
    layout.microBatches,
    chunks,
  )
  const isDetailed = passes.length <= DETAILED_PASSES
  const length = Math.max(...passes.map(({ end }) => end))
  const events = stages.flatMap((stage, index) => {
    const own = passes.filter((pass) => pass.stage === index)
    return [
      ...waitsBetween(own, length).map(([begin, end]) => event(index, 'waiting', '', begin, end)),
      ...own.flatMap((pass) => [eventOf(pass, chunks), ...(isDetailed ? partsOf(pass, stage) : [])]),
    ]
  })
  return [...events, ...stages.flatMap((_, stage) => endOf(stage, length, time.parts))]
}

const sumOf = (parts: SecondsByKind): number => timeKinds.reduce((sum, kind) => sum + parts[kind], 0)

const event = (stage: number, name: string, op: string, begin: number, end: number): StepEvent => ({
  thread: stage,
  name,
  op,
  layer: '',
  begin: begin * 1000,
  end: end * 1000,
})

const eventOf = ({ stage, kind, microBatch, chunk, begin, end }: ScheduledPass, chunks: number): StepEvent =>
  event(stage, kind, `${kind} ${microBatch + 1}${chunks > 1 ? `, chunk ${chunk + 1}` : ''}`, begin, end)

/**
 * The parts of a pass, one after the other. A forward pass recomputes nothing; a backward pass has the rest of the
 * micro-batch's time, and the parts in the reverse order.
 */
function partsOf({ stage, kind, begin, end }: ScheduledPass, { parts, forwardShare }: StageTime): StepEvent[] {
  const total = sumOf(parts)
  const inForward = (total * forwardShare) / (total - parts.recomputation)
  const secondsOf = (part: TimeKind) => {
    const forward = part === 'recomputation' ? 0 : parts[part] * inForward
    return kind === 'forward' ? forward : parts[part] - forward
  }
  const kinds: readonly TimeKind[] = kind === 'forward' ? timeKinds : timeKinds.toReversed()
  // A pass of a chunk has its share of the pass through the stage.
  const scale = (end - begin) / kinds.reduce((sum, part) => sum + secondsOf(part), 0)
  let at = begin
  return kinds.flatMap((part) => {
    const from = at
    at += secondsOf(part) * scale
    // A pass sends its result to the next stage, which the plan counts as a part of the bubble.
    return at > from ? [event(stage, part === 'pipeline bubble' ? 'send' : part, '', from, at)] : []
  })
}

/** The times between passes in which a stage waits, up to the end of all passes. */
function waitsBetween(passes: readonly ScheduledPass[], length: number): [number, number][] {
  const waits: [number, number][] = []
  let at = 0
  for (const { begin, end } of passes) {
    if (begin > at) waits.push([at, begin])
    at = end
  }
  if (length > at) waits.push([at, length])
  return waits
}

function endOf(stage: number, length: number, parts: SecondsByKind): StepEvent[] {
  let at = length
  return atEnd.flatMap((kind) => {
    const from = at
    at += parts[kind]
    return parts[kind] > 0 ? [event(stage, kind, '', from, at)] : []
  })
}
