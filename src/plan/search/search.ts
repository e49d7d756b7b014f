/** All legal layouts of a run on a cluster, and which of them are worth telling. */
import { UsageError } from '../../errors.ts'
import { greatestCommonDivisor } from '../cost/network.ts'
import { type Prediction, Predictor } from '../cost/predict.ts'
import { type Cluster, precisions } from '../inputs/cluster.ts'
import { type PlannedRun, storedBytes } from '../inputs/settings.ts'
import { balancedLoads, type ModelLoads } from '../work/load.ts'
import type { Layout, Offload, Recompute } from './layout.ts'

export interface Ranking {
  readonly predictor: Predictor
  /** Those that fit, the fastest first. */
  readonly fitting: readonly Prediction[]
  /** Those that do not, the one that lacks least first. */
  readonly rejected: readonly Prediction[]
}

/** @throws UsageError when what the plan fixes contradicts itself, the model or the cluster */
export function rank(run: PlannedRun, cluster: Cluster, loads: ModelLoads = defaultLoads(run)): Ranking {
  const predictor = new Predictor(run, cluster, loads)
  const fitting: Prediction[] = []
  const rejected: Prediction[] = []
  for (const layout of layoutsOf(run, cluster)) {
    const prediction = predictor.predict(layout)
    if (lackingBytes(cluster, prediction) > 0) rejected.push(prediction)
    else fitting.push(prediction)
  }
  const lacking = (prediction: Prediction) => lackingBytes(cluster, prediction)
  return {
    predictor,
    fitting: fitting.sort((a, b) => grade(a) - grade(b) || plainness(a, b) || memory(a) - memory(b)),
    rejected: rejected.sort((a, b) => lacking(a) - lacking(b)),
  }
}

/** Times within a thousandth are as good as equal: the plainer layout comes first. */
const grade = ({ time: { stepSeconds } }: Prediction): number => Math.round(1000 * Math.log(stepSeconds))

/** What is done to save memory, the least first. */
function plainness({ layout: a }: Prediction, { layout: b }: Prediction): number {
  return (
    offloads.indexOf(a.offload) - offloads.indexOf(b.offload) ||
    recomputes.indexOf(a.recompute) - recomputes.indexOf(b.recompute) ||
    a.zero - b.zero ||
    a.microBatches - b.microBatches
  )
}

const offloads: readonly Offload[] = ['none', 'optimizer', 'all']
const recomputes: readonly Recompute[] = ['none', 'selective', 'full']

const memory = ({ memory: { deviceBytes } }: Prediction): number => deviceBytes
const defaultLoads = ({ model: { moe } }: PlannedRun): ModelLoads => (moe ? balancedLoads(moe) : () => [])

/** Bytes that a layout needs more than there are, on the device or its host; at most 0 when it fits. A host of unknown memory is taken to have enough. */
export function lackingBytes({ device }: Cluster, { memory: { deviceBytes, hostBytes } }: Prediction): number {
  return Math.max(deviceBytes - device.memory, hostBytes - (device.hostMemory ?? Number.POSITIVE_INFINITY))
}

/** Layouts that no other beats in both time and memory; the fastest first. */
export function paretoFront(fitting: readonly Prediction[]): Prediction[] {
  const front: Prediction[] = []
  const sorted = [...fitting].sort((a, b) => a.time.stepSeconds - b.time.stepSeconds || memory(a) - memory(b))
  for (const each of sorted) {
    const last = front.at(-1)
    if (!last || memory(each) < memory(last)) front.push(each)
  }
  return front
}

/** @throws UsageError when there is none */
export function layoutsOf(run: PlannedRun, cluster: Cluster): Layout[] {
  check(run, cluster)
  const { model, plan, train } = run
  const { parallel } = plan
  const { devices } = cluster
  const layouts: Layout[] = []
  const tensors = candidates(parallel.tensor, divisors(cluster.devicesPerNode)).filter((t) => slices(run, t))
  for (const tensor of tensors)
    for (const pipeline of candidates(parallel.pipeline, divisors(model.layers))) {
      if (plan.virtualStages > 1 && (pipeline === 1 || model.layers % (pipeline * plan.virtualStages) !== 0)) continue
      const data = devices / tensor / pipeline
      if (!Number.isInteger(data) || train.batch % data !== 0) continue
      if (parallel.data !== null && parallel.data !== data) continue
      for (const expert of candidates(parallel.expert, expertSizes(run, data)))
        if (data % expert === 0)
          for (const rest of restOf(run, cluster, data, pipeline))
            layouts.push({ data, expert, tensor, pipeline, ...rest })
    }
  if (layouts.length > 0) return layouts
  throw new UsageError(noLayout(run, cluster))
}

function* restOf(run: PlannedRun, cluster: Cluster, data: number, pipeline: number) {
  const { plan, train } = run
  // ZeRO 2 and 3 exchange gradients or weights for every micro-batch, which a pipeline has under way at once.
  const stages = data === 1 ? [0] : pipeline > 1 ? [0, 1] : [0, 1, 2, 3]
  const recompute = recomputes.filter((each) => each !== 'selective' || plan.attention === 'materialized')
  const offload = offloads.filter((each) => each === 'none' || cluster.links.host)
  // Interleaved stages take micro-batches in rounds of as many as there are stages.
  const whole = plan.virtualStages > 1 ? pipeline : 1
  for (const zero of candidates(plan.zero, stages))
    for (const each of candidates(plan.recompute, recompute))
      for (const microBatches of candidates(plan.microBatches, divisors(train.batch / data)))
        if (
          (train.batch / data) % microBatches === 0 &&
          microBatches % whole === 0 &&
          groupsDivide(run, data, microBatches)
        )
          for (const where of candidates(plan.offload, offload))
            yield { zero, recompute: each, microBatches, offload: where }
}

/** Groups of tokens are equal parts of a micro-batch. */
const groupsDivide = ({ model, train }: PlannedRun, data: number, microBatches: number): boolean =>
  ((train.batch / data / microBatches) * model.sequence) % (model.moe?.groups ?? 1) === 0

const candidates = <T>(fixed: T | null, all: readonly T[]): readonly T[] => (fixed === null ? all : [fixed])

/** Whether every matrix that tensor parallelism cuts can be cut in so many parts. */
function slices({ model }: PlannedRun, tensor: number): boolean {
  const { heads, hidden, moe } = model
  const cut = [heads, ...(moe ? [moe.hidden, ...(moe.sharedHidden > 0 ? [moe.sharedHidden] : [])] : [])]
  // Without a dense layer its width is of no matter.
  if (!moe || moe.every > 1) cut.push(hidden)
  return cut.every((size) => size % tensor === 0)
}

const expertSizes = ({ model }: PlannedRun, data: number): number[] =>
  model.moe ? divisors(greatestCommonDivisor(model.moe.experts, data)) : [1]

/** What the plan fixes, against model and cluster: each by itself. */
function check(run: PlannedRun, cluster: Cluster): void {
  const { model, plan, train } = run
  const { parallel, precision } = plan
  const problems: string[] = []
  const refuse = (field: string, value: unknown, reason: string) =>
    problems.push(`invalid plan.${field}: ${String(value)} (${reason})`)
  const mustDivide = (field: string, value: number | null, size: number, what: string) => {
    if (value !== null && size % value !== 0) refuse(field, value, `must divide ${what} ${size}`)
  }
  if (cluster.device.peak[precision] === undefined) {
    const known = precisions.filter((name) => cluster.device.peak[name] !== undefined)
    const best = (['bfloat16', 'float16'] as const).find((name) => known.includes(name)) ?? 'float32'
    refuse('precision', precision, `${cluster.device.name} has ${known.join(', ')}; set plan.precision=${best}`)
  }
  if (parallel.tensor !== null && !slices(run, parallel.tensor))
    refuse('parallel.tensor', parallel.tensor, `must divide model.heads ${model.heads} and every hidden width`)
  else mustDivide('parallel.tensor', parallel.tensor, cluster.devices, `the cluster's devices`)
  const parts = plan.virtualStages === 1 ? '' : `times virtualStages ${plan.virtualStages} `
  if (plan.virtualStages > model.layers)
    refuse('virtualStages', plan.virtualStages, `must be at most model.layers ${model.layers}`)
  else if (parallel.pipeline !== null && model.layers % (parallel.pipeline * plan.virtualStages) !== 0)
    refuse('parallel.pipeline', parallel.pipeline, `${parts}must divide model.layers ${model.layers}`)
  else mustDivide('parallel.pipeline', parallel.pipeline, cluster.devices, `the cluster's devices`)
  if (plan.virtualStages > 1 && parallel.pipeline === 1)
    refuse('virtualStages', plan.virtualStages, 'needs more than one pipeline stage')
  if (parallel.expert !== null && parallel.expert > 1) {
    if (!model.moe) refuse('parallel.expert', parallel.expert, 'the model has no experts')
    else mustDivide('parallel.expert', parallel.expert, model.moe.experts, 'model.moe.experts')
  }
  mustDivide('parallel.data', parallel.data, train.batch, 'train.batch')
  mustDivide('parallel.data', parallel.data, cluster.devices, `the cluster's devices`)
  if (plan.gradients === 'both' && storedBytes(precision) === 4)
    refuse('gradients', 'both', 'only with a precision of 16 bits')
  if (plan.recompute === 'selective' && plan.attention === 'fused')
    refuse('recompute', 'selective', 'fused attention stores no scores that could be computed again')
  if (plan.dispatch === 'one-hot' && model.moe?.capacity === 'none')
    refuse('dispatch', 'one-hot', 'needs a capacity: one-hot matrices have a column for each slot')
  if (plan.offload !== null && plan.offload !== 'none' && !cluster.links.host)
    refuse('offload', plan.offload, 'the cluster has no links.host')
  if (plan.load.run !== null && plan.load.cv > 0)
    refuse('load.cv', plan.load.cv, 'the loads are those of plan.load.run')
  if (problems.length === 1) throw new UsageError(problems.join())
  if (problems.length > 1) throw new UsageError(`${problems.length} problems in the plan\n  ${problems.join('\n  ')}`)
}

function noLayout({ model, plan, train }: PlannedRun, { name, devices }: Cluster): string {
  const { data, tensor, pipeline, expert } = plan.parallel
  const virtualStages = plan.virtualStages > 1 ? plan.virtualStages : null
  const fixed = Object.entries({ data, expert, tensor, pipeline, virtualStages, microBatches: plan.microBatches })
    .filter(([, size]) => size !== null)
    .map(([field, size]) => `${field} ${size}`)
  const given = fixed.length > 0 ? ` with ${fixed.join(', ')}` : ''
  return (
    `no layout of ${train.batch} sequences and ${model.layers} layers on ${devices} devices of ${name}${given}: ` +
    `data × tensor × pipeline must be ${devices}, data must divide train.batch ${train.batch}, expert must divide data${virtualStages ? ', pipeline × virtualStages the layers, and pipeline the micro-batches' : ''} ` +
    '(set train.batch to a multiple of the devices, or free what the plan fixes)'
  )
}

/** In increasing order. */
export function divisors(n: number): number[] {
  const found: number[] = []
  for (let d = 1; d * d <= n; d++) if (n % d === 0) found.push(...(d * d === n ? [d] : [d, n / d]))
  return found.sort((a, b) => a - b)
}
