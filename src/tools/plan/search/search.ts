/** Lists all legal layouts of a run on a cluster and ranks them. */
import { UsageError } from '../../../core/errors.ts'
import { greatestCommonDivisor } from '../cost/network.ts'
import { type Prediction, Predictor } from '../cost/predict.ts'
import { type Cluster, precisions } from '../inputs/cluster.ts'
import type { Program } from '../inputs/constants.ts'
import { marginOf } from '../inputs/intervals.ts'
import { type PlannedRun, type PlanSettings, type RecomputedModule, storedBytes } from '../inputs/settings.ts'
import { balancedLoads, type ModelLoads } from '../work/load.ts'
import type { ModelTraffic } from '../work/mixture.ts'
import type { Layout, Offload, Recompute } from './layout.ts'

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

/** Orders layouts that do less to save memory first. */
function compareSavings({ layout: a }: Prediction, { layout: b }: Prediction): number {
  return (
    offloads.indexOf(a.offload) - offloads.indexOf(b.offload) ||
    recomputeRank(a) - recomputeRank(b) ||
    a.zero - b.zero ||
    a.microBatches - b.microBatches
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
  const { model, plan, train } = run
  const { parallel } = plan
  const { context } = parallel
  const { devices } = cluster
  // Ranks that exchange through owners share batches and experts only.
  const alone = plan.exchange === 'owners' ? 1 : null
  const layouts: Layout[] = []
  const tensors = candidates(parallel.tensor ?? alone, divisors(cluster.devicesPerNode)).filter((t) => canSplit(run, t))
  for (const tensor of tensors)
    for (const pipeline of candidates(parallel.pipeline ?? alone, divisors(devices))) {
      if (pipeline * plan.virtualStages > model.layers) continue
      if (plan.virtualStages > 1 && pipeline === 1) continue
      const data = devices / tensor / pipeline / context
      if (!Number.isInteger(data) || train.batch % data !== 0) continue
      if (parallel.data !== null && parallel.data !== data) continue
      if (parallel.shard !== null && (data * context) % Math.min(parallel.shard, data * context) !== 0) continue
      const expertTensor = parallel.expertTensor ?? tensor
      // Number of groups of devices that can hold different experts.
      const places = (data * context * tensor) / expertTensor
      for (const expert of candidates(parallel.expert, expertSizes(run, places)))
        if (places % expert === 0)
          for (const settings of otherSettings(run, cluster, data, pipeline))
            layouts.push({ data, expert, tensor, pipeline, context, expertTensor, ...settings })
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

function* otherSettings(run: PlannedRun, cluster: Cluster, data: number, pipeline: number) {
  const { plan, train } = run
  const stages = zeroStages(plan, data * plan.parallel.context, pipeline)
  const offloadOptions = offloads.filter((each) => each === 'none' || cluster.links.host)
  // Interleaved stages process micro-batches in rounds, one for each stage.
  const round = plan.virtualStages > 1 ? pipeline : 1
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

/** Whether `tensor` divides every dimension that tensor parallelism splits. */
function canSplit({ model, plan }: PlannedRun, tensor: number): boolean {
  const { heads, hidden, moe } = model
  const split = [heads]
  if (moe && plan.parallel.expertTensor === null) split.push(moe.hidden)
  if (moe && moe.sharedHidden > 0) split.push(moe.sharedHidden)
  // The width of dense layers matters only if there are any.
  if (hasDenseNetworks(model)) split.push(hidden)
  return split.every((size) => size % tensor === 0)
}

const expertSizes = ({ model }: PlannedRun, places: number): number[] =>
  model.moe ? divisors(greatestCommonDivisor(model.moe.experts, places)) : [1]

/** Checks each fixed setting of the plan against model and cluster. @throws UsageError listing every problem */
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
  if (parallel.tensor !== null && !canSplit(run, parallel.tensor))
    refuse('parallel.tensor', parallel.tensor, `must divide model.heads ${model.heads} and every hidden width`)
  else mustDivide('parallel.tensor', parallel.tensor, cluster.devices, `the cluster's devices`)
  const parts = plan.virtualStages === 1 ? '' : `times virtualStages ${plan.virtualStages} `
  if (plan.virtualStages > model.layers)
    refuse('virtualStages', plan.virtualStages, `must be at most model.layers ${model.layers}`)
  else if (parallel.pipeline !== null && parallel.pipeline * plan.virtualStages > model.layers)
    refuse('parallel.pipeline', parallel.pipeline, `${parts}must be at most model.layers ${model.layers}`)
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
    refuse('gradients', 'both', 'needs a plan.precision of 16 bits')
  mustDivide('parallel.context', parallel.context, cluster.devices, `the cluster's devices`)
  mustDivide('parallel.context', parallel.context, model.sequence, 'model.sequence')
  if (precision === 'float8' && plan.attention === 'materialized')
    refuse('precision', precision, 'needs plan.attention=fused: scores stay in 16 bits')
  for (const [module, needed] of unfit(run))
    refuse(
      'recompute',
      Array.isArray(plan.recompute) ? plan.recompute.join(', ') : plan.recompute,
      `${module}: ${needed}`,
    )
  const { chunks } = plan.crossEntropy
  const rows = model.sequence / parallel.context
  if (chunks > rows)
    refuse('crossEntropy.chunks', chunks, `must be at most ${rows}, the tokens of a sequence on a device`)
  if (plan.offloadActivations > 0 && !cluster.links.host)
    refuse('offloadActivations', plan.offloadActivations, 'the cluster has no links.host')
  if (plan.weights !== 'precision' && precision !== 'float8')
    refuse('weights', plan.weights, 'needs plan.precision=float8: other products read weights of 16 bits or more')
  if (plan.weights !== 'precision' && !plan.master && plan.program !== 'fsdp')
    refuse('weights', plan.weights, 'needs plan.master=true: updates are too small for 8 bits')
  const ranks = (parallel.data ?? 1) * parallel.context
  if (parallel.data !== null && parallel.shard !== null)
    mustDivide('parallel.shard', parallel.shard, ranks, 'the ranks with other tokens')
  if (plan.program === 'fsdp') {
    if (plan.zero !== null && plan.zero < 2)
      refuse('zero', plan.zero, 'must be 2, 3 or null with plan.program=fsdp, which shards weights')
    if (plan.exchange === 'owners') refuse('exchange', plan.exchange, 'must be collectives with plan.program=fsdp')
    if (plan.weights === 'mxfp8') refuse('weights', plan.weights, 'must be precision or float8 with plan.program=fsdp')
  }
  if (plan.exchange === 'owners') {
    for (const field of ['tensor', 'pipeline', 'context'] as const)
      if ((parallel[field] ?? 1) > 1)
        refuse(`parallel.${field}`, parallel[field], 'must be 1 with plan.exchange=owners')
    if (plan.zero !== null && plan.zero !== 1)
      refuse('zero', plan.zero, 'must be 1 or null with plan.exchange=owners: only an owner has the state of its part')
  }
  if (plan.dispatch === 'one-hot' && model.moe?.capacity === 'none')
    refuse('dispatch', 'one-hot', 'needs a capacity: one-hot matrices have a column for each slot')
  if (plan.offload !== null && plan.offload !== 'none' && !cluster.links.host)
    refuse('offload', plan.offload, 'the cluster has no links.host')
  if (plan.load.run !== null && plan.load.cv > 0)
    refuse('load.cv', plan.load.cv, 'plan.load.run sets the loads; use one of the two')
  if (problems.length === 1) throw new UsageError(problems.join())
  if (problems.length > 1) throw new UsageError(`${problems.length} problems in the plan\n  ${problems.join('\n  ')}`)
}

/** Modules of `plan.recompute` that the run does not have, with the reason. */
function unfit({ model, plan }: PlannedRun): [module: RecomputedModule, needed: string][] {
  const { recompute, latent, attention } = plan
  if (recompute === null || typeof recompute === 'string') return []
  const { moe } = model
  const lacking: Readonly<Partial<Record<RecomputedModule, string | false>>> = {
    scores: attention === 'fused' && 'fused attention stores no scores; set plan.attention=materialized',
    latent: latent === null && 'the model has no latent attention; set plan.latent',
    experts: moe === null && 'the model has no experts',
    moe: moe === null && 'the model has no experts',
    network: hasDenseNetworks(model) ? false : 'no layer has a dense network; use experts or moe',
  }
  return recompute.flatMap((module) => {
    const needed = lacking[module]
    return needed ? [[module, needed]] : []
  })
}

const hasDenseNetworks = ({ moe }: PlannedRun['model']): boolean => !moe || moe.every > 1 || moe.from > 0

function noLayout({ model, plan, train }: PlannedRun, { name, devices }: Cluster): string {
  const { data, tensor, pipeline, expert } = plan.parallel
  const virtualStages = plan.virtualStages > 1 ? plan.virtualStages : null
  const fixed = Object.entries({ data, expert, tensor, pipeline, virtualStages, microBatches: plan.microBatches })
    .filter(([, size]) => size !== null)
    .map(([field, size]) => `${field} ${size}`)
  const given = fixed.length > 0 ? ` with ${fixed.join(', ')}` : ''
  return (
    `no layout of ${train.batch} sequences and ${model.layers} layers on ${devices} devices of ${name}${given}: ` +
    `data × tensor × pipeline${plan.parallel.context > 1 ? ` × context ${plan.parallel.context}` : ''} must be ${devices}, data must divide train.batch ${train.batch}, expert must divide data${virtualStages ? ', pipeline × virtualStages must be at most the layers, and pipeline must divide the micro-batches' : ''} ` +
    '(set train.batch to a multiple of the devices, or fix fewer fields of the plan)'
  )
}

/** All divisors of a number, in increasing order. */
export function divisors(n: number): number[] {
  const found: number[] = []
  for (let d = 1; d * d <= n; d++) if (n % d === 0) found.push(...(d * d === n ? [d] : [d, n / d]))
  return found.sort((a, b) => a - b)
}
