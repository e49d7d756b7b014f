/** The components of a mixture of experts: router, dispatch and combine, and the experts of one rank. */
import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import { activatedExperts, type RoutedModule } from '../../../core/model/config/moe-config.ts'
import { moduleWidths } from '../../../core/model/parameters.ts'
import { hasRouterWeights } from '../../../core/model/routing/routers.ts'
import {
  type Component,
  factorBytes,
  network,
  networkWork,
  norm,
  noWork,
  residual,
  type Slice,
  summedBytes,
} from './components.ts'
import { capacityOf, type ExpertLoads, rankLoad } from './load.ts'

/** Traffic of the busiest rank in the all-to-alls of a routed module, divided by the traffic of an even load. */
export type ModelTraffic = (layer: number, module: RoutedModule) => number

/**
 * Components and load of one routed module.
 * @param imbalance measured imbalance of the traffic between ranks; null to use the imbalance of the loads
 */
export function mixture(slice: Slice, module: RoutedModule, expertLoads: ExpertLoads, imbalance: number | null) {
  const { model, plan, bytes, expert, expertTensor, tensor } = slice
  const moe = model.moe
  if (!moe) throw new Error('internal: no experts in a dense model')
  const { inputs, outputs } = moduleWidths(model, module)
  const { experts } = moe
  // Whole experts are distributed over tensor-parallel ranks too, and each rank sends its part of the tokens.
  const tokens = (slice.tokens * expertTensor) / tensor
  const load = rankLoad(moe, expertLoads, expert, tokens, {
    ...(plan.dispatch === 'one-hot' && { padded: true }),
    sampled: plan.load.sampling,
  })
  const sentRows = imbalance === null ? load.rows : (load.rows / load.imbalance) * imbalance
  const isNetwork = module === 'ffn'
  const local = experts / expert
  // With `bySource`, each expert here has a product for the rows of every rank.
  const sources = plan.bySource ? expert : 1
  const rows = load.rows / local / sources
  // A tensor-parallel rank returns full sums of networks, but only its columns of projections.
  const resultWidth = isNetwork ? outputs : outputs / expertTensor
  const work = isNetwork
    ? networkWork(slice, local * sources, rows, moe.hidden / expertTensor)
    : { ...noWork, products: [{ count: local * sources, m: rows, n: resultWidth, k: inputs }] }
  const weights = work.products.reduce((sum, { n, k }) => sum + local * n * k, 0) * bytes
  const sentBytes = plan.dispatchPrecision === 'float8' ? FLOAT8_BYTES : bytes
  const resultBytes = !isNetwork || plan.gates === 'results' ? load.rows * resultWidth * bytes : 0
  // Experts that replace projections belong to attention.
  const blocks = isNetwork ? (['moe'] as const) : (['moe', 'attention'] as const)
  const components: Component[] = [
    ...(isNetwork ? [norm(slice, 'router', ['moe'])] : []),
    { ...router(moe, tokens, inputs), blocks },
    { ...dispatch(moe, slice, tokens, load.rows, { inputs, outputs: resultWidth }), blocks },
    {
      ...noWork,
      ...work,
      kind: 'experts',
      // The rows that experts read are kept too, and their results, for the gradient of the gate.
      keptBytes: work.keptBytes + load.rows * inputs * factorBytes(slice) + resultBytes,
      blocks: ['experts', ...blocks],
      checkpoint: { blocks: ['experts'], bytes: load.rows * inputs * bytes + resultBytes },
      tensorBytes: module === 'qkv' ? 0 : summedBytes(slice),
      // The gradients of all sources are read, and their sum is written, then copied to its place.
      gradientPassBytes: work.gradientPassBytes + (sources > 1 ? (sources + 3) * weights : 0),
      // Each expert has its own product, unless all are padded to equal size.
      starts: load.isPadded ? 0 : work.products.length * (local * sources - 1),
      allToAlls: expert > 1 ? [sentRows * inputs * sentBytes, sentRows * resultWidth * bytes] : [],
    },
    ...(isNetwork && moe.sharedHidden > 0
      ? [{ ...network(slice, moe.sharedHidden), blocks: ['experts', 'moe'] as const }]
      : []),
    ...(isNetwork ? [residual(slice, 'router')] : []),
  ]
  return { components, load }
}

/** Bytes of a float8 number: a byte, and a float32 scale for each 128 numbers (DeepSeek-V3, section 3.3). */
const FLOAT8_BYTES = 1 + 4 / 128

/** Number of kernels per choice: maximum, one-hot, place in the queue, capacity, gate, mask. */
const KERNELS_PER_CHOICE = 6

/**
 * The router: logits, softmax, choice and capacity, in float32 as is usual (Switch Transformers, section 2.4). k
 * sequential choices pass k times over all logits; one choice in each of Z prototypes passes once.
 */
function router(moe: MoeConfig, tokens: number, width: number): Component {
  const cells = tokens * moe.experts * 4
  const rounds = moe.selection === 'sequential' ? moe.k : 1
  const learned = hasRouterWeights(moe)
  const normalizing = moe.router === 'sinkhorn' ? 2 * moe.sinkhornIterations : 0
  // Softmax reads and writes; losses read twice; a choice reads, writes its mask, and sums the mask by token.
  const passes = (learned ? 4 : 0) + 2 * normalizing + 4 * rounds
  return {
    ...noWork,
    kind: 'router',
    products: learned ? [{ count: 1, m: tokens, n: moe.experts, k: width }] : [],
    passBytes: passes * cells,
    // The gradient passes once through the softmax; choices have no gradient.
    gradientPassBytes: learned ? 4 * cells : 0,
    kernels: (learned ? 3 : 0) + normalizing + KERNELS_PER_CHOICE * rounds,
    keptBytes: learned ? 2 * cells : 0,
  }
}

/**
 * Number of short kernels of a forward pass around the all-to-all: counting, sorting, lengths and offsets for each
 * expert and rank. The numbers are orders of magnitude; the host's time for one kernel, `device.launch`, is fitted with
 * them.
 */
const STARTS = { dropless: 150, capacity: 75 }

/**
 * Dispatch and combine: rows are copied by index, or products with one-hot matrices [T, N·C].
 * @param widths columns that experts read, and columns of their results
 */
function dispatch(
  moe: MoeConfig,
  { plan, bytes, expert }: Slice,
  tokens: number,
  rows: number,
  { inputs, outputs }: { inputs: number; outputs: number },
): Component {
  const choices = activatedExperts(moe)
  if (plan.dispatch === 'gather') {
    // Rows that arrive from other ranks are sorted by expert, and their results sorted back.
    const sorted = expert > 1 && moe.experts > expert ? 2 * rows * (inputs + outputs) : 0
    const dispatched = 2 * rows * inputs
    const combined = (rows + choices * tokens) * outputs
    const passBytes = (dispatched + combined + sorted) * bytes
    const starts = moe.capacity === 'none' ? STARTS.dropless : STARTS.capacity
    const kernels = sorted > 0 ? 8 : 4
    return { ...noWork, kind: 'dispatch', passBytes, gradientPassBytes: passBytes, kernels, starts }
  }
  // There is one matrix per group: its tokens by its slots.
  const count = moe.groups
  const group = tokens / count
  const slots = (moe.experts * capacityOf(moe, tokens)) / count
  return {
    ...noWork,
    kind: 'dispatch',
    products: [
      { count, m: slots, n: inputs, k: group },
      { count, m: group, n: outputs, k: slots },
    ],
    // Two matrices, of places and of gates, are written from their factors and kept.
    passBytes: 2 * 2 * tokens * slots * bytes,
    gradientPassBytes: tokens * slots * bytes,
    kernels: 4,
    keptBytes: 2 * tokens * slots * bytes,
  }
}
