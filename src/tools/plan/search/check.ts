/** Checks the fixed settings of a plan against each other, the model and the cluster. */
import { UsageError } from '../../../core/errors.ts'
import { type Cluster, precisions } from '../inputs/cluster.ts'
import { type PlannedRun, type RecomputedModule, storedBytes } from '../inputs/settings.ts'

/** Whether `tensor` divides every dimension that tensor parallelism splits. */
export function canSplit({ model, plan }: PlannedRun, tensor: number): boolean {
  const { heads, hidden, moe } = model
  const split = [heads]
  if (moe && plan.parallel.expertTensor === 'tensor') split.push(moe.hidden)
  if (moe && moe.sharedHidden > 0) split.push(moe.sharedHidden)
  // The width of dense layers matters only if there are any.
  if (hasDenseNetworks(model)) split.push(hidden)
  return split.every((size) => size % tensor === 0)
}

/** Checks each fixed setting of the plan against model and cluster. @throws UsageError listing every problem */
export function check(run: PlannedRun, cluster: Cluster): void {
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
  const virtualStages = plan.virtualStages ?? 1
  const parts = virtualStages === 1 ? '' : `times virtualStages ${virtualStages} `
  if (virtualStages > model.layers)
    refuse('virtualStages', virtualStages, `must be at most model.layers ${model.layers}`)
  else if (parallel.pipeline !== null && parallel.pipeline * virtualStages > model.layers)
    refuse('parallel.pipeline', parallel.pipeline, `${parts}must be at most model.layers ${model.layers}`)
  else mustDivide('parallel.pipeline', parallel.pipeline, cluster.devices, `the cluster's devices`)
  if (virtualStages > 1 && parallel.pipeline === 1)
    refuse('virtualStages', virtualStages, 'needs more than one pipeline stage')
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
  const rows = model.sequence / (parallel.context ?? 1)
  if (chunks > rows)
    refuse('crossEntropy.chunks', chunks, `must be at most ${rows}, the tokens of a sequence on a device`)
  if (plan.offloadActivations > 0 && !cluster.links.host)
    refuse('offloadActivations', plan.offloadActivations, 'the cluster has no links.host')
  if (plan.weights !== 'precision' && precision !== 'float8')
    refuse('weights', plan.weights, 'needs plan.precision=float8: other products read weights of 16 bits or more')
  if (plan.weights !== 'precision' && !plan.master && plan.program !== 'fsdp')
    refuse('weights', plan.weights, 'needs plan.master=true: updates are too small for 8 bits')
  const ranks = (parallel.data ?? 1) * (parallel.context ?? 1)
  if (parallel.data !== null && parallel.context !== null && parallel.shard !== null)
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

/** The message if no layout is legal. */
export function noLayout({ model, plan, train }: PlannedRun, { name, devices }: Cluster): string {
  const { data, tensor, pipeline, expert } = plan.parallel
  const virtualStages = (plan.virtualStages ?? 1) > 1 ? plan.virtualStages : null
  const fixed = Object.entries({ data, expert, tensor, pipeline, virtualStages, microBatches: plan.microBatches })
    .filter(([, size]) => size !== null)
    .map(([field, size]) => `${field} ${size}`)
  const given = fixed.length > 0 ? ` with ${fixed.join(', ')}` : ''
  return (
    `no layout of ${train.batch} sequences and ${model.layers} layers on ${devices} devices of ${name}${given}: ` +
    `data × tensor × pipeline${plan.parallel.context === 1 ? '' : ` × context${plan.parallel.context === null ? '' : ` ${plan.parallel.context}`}`} must be ${devices}, data must divide train.batch ${train.batch}, expert must divide data${virtualStages ? ', pipeline × virtualStages must be at most the layers, and pipeline must divide the micro-batches' : ''} ` +
    '(set train.batch to a multiple of the devices, or fix fewer fields of the plan)'
  )
}
