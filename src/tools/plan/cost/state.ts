/** Bytes of weights, gradients and optimizer state: of a number of each, and of all on a device. */
import { describeModel } from '../../../core/model/describe.ts'
import { stateNumbers } from '../../../train/step/optimizer/own-rule.ts'
import { type Layout, shardsOf } from '../inputs/layout.ts'
import { isFsdp, optimizerOf, type PlannedRun, storedBytes } from '../inputs/settings.ts'
import { addCounts, type Count, type ParameterCounts } from '../work/parameter-counts.ts'

/**
 * Bytes of weights, gradients and optimizer state on a device, with ZeRO sharding (Rajbhandari et al. 2020, figure 1).
 */
export function stateBytes(run: PlannedRun, layout: Layout, { dense, experts }: { dense: Count; experts: Count }) {
  const { expert, tensor, expertTensor, zero } = layout
  const optimizer = optimizerBytes(run)
  const held = shardsOf(run, layout)
  const sizes = {
    weights: (count: Count) => weightBytes(run, count),
    gradients: ({ parameters }: Count) => keptGradientBytes(run) * parameters,
    optimizer: ({ parameters, factored }: Count) =>
      parameters > 0 ? optimizer(factored / parameters) * parameters : 0,
  }
  const shardedFrom = { weights: isFsdp(run) ? 2 : 3, gradients: 2, optimizer: 1 }
  const bytes = (kind: keyof typeof sizes) => {
    const shards = zero >= shardedFrom[kind] ? held : { dense: 1, experts: 1 }
    const unsharded = sizes[kind]
    return unsharded(dense) / tensor / shards.dense + unsharded(experts) / expertTensor / expert / shards.experts
  }
  return { weights: bytes('weights'), gradients: bytes('gradients'), optimizer: bytes('optimizer') }
}

/**
 * Bytes of a stored float8 weight. Products of the backward pass read a transposed weight. Blocks of 32 numbers with a
 * scale (mxfp8) run along the depth of a product, so a weight has a copy for each direction; a scale for a whole tensor
 * or square block does not need that.
 */
const float8WeightBytes = { float8: 1, mxfp8: 2 * (1 + 1 / 32) }

/** Bytes of kept gradients. FSDP keeps gradients of shards in the precision of the sharded weights. */
function keptGradientBytes(run: PlannedRun): number {
  if (isFsdp(run)) return hasMaster(run) ? 4 : storedBytes(run.plan.precision)
  return gradientBytes(run) + (run.plan.gradients === 'both' ? 4 : 0)
}

/** Bytes of stored weights. The weights of FSDP are the originals that the optimizer updates. */
function weightBytes(run: PlannedRun, { parameters, multiplied }: Count): number {
  const { plan } = run
  const wide = storedBytes(plan.precision)
  if (isFsdp(run)) return (hasMaster(run) ? 4 : wide) * parameters
  return plan.weights === 'precision'
    ? wide * parameters
    : wide * (parameters - multiplied) + float8WeightBytes[plan.weights] * multiplied
}

/**
 * Bytes of weights that ranks gather from each other. The two copies of mxfp8 are made after the weights have arrived in
 * 16 bits.
 */
export function gatheredBytes({ plan }: PlannedRun, { parameters, multiplied }: Count): number {
  const wide = storedBytes(plan.precision)
  return plan.weights === 'float8' ? wide * (parameters - multiplied) + multiplied : wide * parameters
}

/** Bytes of a checkpoint: the weights that the optimizer updates, and its state. */
export function checkpointBytesOf(run: PlannedRun, { layers, embedding, head, total }: ParameterCounts): number {
  const { dense, experts } = addCounts([...layers, embedding, head])
  const state = optimizerBytes(run)((dense.factored + experts.factored) / total)
  const isCounted = hasMaster(run) && !isFsdp(run)
  return total * (state + (isCounted ? 0 : hasMaster(run) ? 4 : storedBytes(run.plan.precision)))
}

/** Whether the optimizer has float32 originals of the weights. */
const hasMaster = ({ plan }: PlannedRun): boolean => plan.master && storedBytes(plan.precision) === 2

/** Bytes of an exchanged gradient, per parameter. */
export const gradientBytes = ({ plan }: PlannedRun): number =>
  plan.gradients === 'float32' ? 4 : storedBytes(plan.precision)

/** Precision of moments, which the plan sets or takes from the run. */
export const momentPrecision = ({ plan, train }: PlannedRun) => {
  const { state } = train.optimizer
  return plan.state ?? (state === 'bf16' ? 'bfloat16' : state)
}

/** Bytes of a moment. The bounds of blocks in 8 bits, a few percent, are left out. */
const momentBytes = { float32: 4, bfloat16: 2, int8: 1 }

/**
 * Bytes of optimizer state per parameter; `factored` is the mean number of values in the factored moment per parameter.
 */
function optimizerBytes(run: PlannedRun): (factored: number) => number {
  const master = hasMaster(run) && !isFsdp(run) ? 4 : 0
  const moment = momentBytes[momentPrecision(run)]
  switch (optimizerOf(run)) {
    case 'adamw':
      return () => master + 2 * moment
    case 'adafactor':
      return (factored) => master + factored * moment
    case 'sgd':
      return () => master + moment
    case 'own':
      return () => master + ownNumbers(run) * moment
  }
}

/** Mean number of values in the state of an optimizer of the user's own, per parameter. */
function ownNumbers(run: PlannedRun): number {
  const numbers = knownNumbers.get(run) ?? stateNumbers(run) / describeModel(run.model).parameters
  knownNumbers.set(run, numbers)
  return numbers
}

/** Every layout of a search has the same. */
const knownNumbers = new WeakMap<PlannedRun, number>()
