/** The blocks of a mixture of experts: router, dispatch, the experts of one rank, and back. */
import { activatedExperts, hasRouterWeights, type RoutedModule } from '../../model/parameters.ts'
import { type Component, network, networkWork, norm, nothing, residual, type Slice } from './components.ts'
import { capacityOf, type ExpertLoads, rankLoad } from './load.ts'

/** Router, dispatch, experts and combine of one routed module. */
export function mixture(slice: Slice, module: RoutedModule, expertLoads: ExpertLoads) {
  const { model, plan, tokens, bytes, tensor, expert } = slice
  const moe = model.moe
  if (!moe) throw new Error('internal: no experts in a dense model')
  const { width } = model
  const { experts } = moe
  const load = rankLoad(moe, expertLoads, expert, tokens, plan.dispatch === 'one-hot' || undefined)
  const ownNorm = module === 'ffn' ? [norm(slice, 'router')] : []
  const ownResidual = module === 'ffn' ? [residual(slice, 'router')] : []
  const local = experts / expert
  const rows = load.rows / local
  const columns = module === 'qkv' ? 3 * width : width
  /** Of what a rank of a tensor group hands back: sums of networks, parts of projections. */
  const back = module === 'ffn' ? width : columns / tensor
  const work =
    module === 'ffn'
      ? networkWork(model, local, rows, moe.hidden / tensor, bytes)
      : {
          products: [{ count: local, m: rows, n: columns / tensor, k: width }],
          passBytes: 0,
          gradientPassBytes: 0,
          kernels: 0,
          keptBytes: 0,
        }
  const shared = module === 'ffn' && moe.sharedHidden > 0 ? [network(slice, moe.sharedHidden)] : []
  const blocks: Component[] = [
    ...ownNorm,
    router(slice),
    dispatch(slice, load.rows, back),
    {
      ...nothing,
      kind: 'experts',
      ...work,
      // What experts read, and what they make: the gradient of the gate needs it.
      keptBytes: work.keptBytes + load.rows * (width + back) * bytes,
      exchanges: expert > 1 ? [load.rows * width * bytes, load.rows * back * bytes] : [],
    },
    ...shared,
    ...ownResidual,
  ]
  return { blocks, load }
}

/** Kernels of one choice: maximum, one-hot, place in the queue, capacity, gate, mask. */
const KERNELS_A_CHOICE = 6

/**
 * Logits, softmax, choice and capacity, in float32 as is usual (Switch Transformers, section 2.4). k sequential
 * choices are k times the passes over all logits; one choice in each of Z prototypes is one pass.
 */
function router({ model: { moe, width }, tokens }: Slice): Component {
  if (!moe) throw new Error('internal: no experts in a dense model')
  const cells = tokens * moe.experts * 4
  const rounds = moe.selection === 'sequential' ? moe.k : 1
  const learned = hasRouterWeights(moe)
  const normalising = moe.router === 'sinkhorn' ? 2 * moe.sinkhornIterations : 0
  // Softmax reads and writes; losses read twice; a choice reads, writes its mask, and adds the mask up by token.
  const passes = (learned ? 4 : 0) + 2 * normalising + 4 * rounds
  return {
    ...nothing,
    kind: 'router',
    products: learned ? [{ count: 1, m: tokens, n: moe.experts, k: width }] : [],
    passBytes: passes * cells,
    // The gradient takes the softmax back once; it does not choose again.
    gradientPassBytes: learned ? 4 * cells : 0,
    kernels: (learned ? 3 : 0) + normalising + KERNELS_A_CHOICE * rounds,
    keptBytes: learned ? 2 * cells : 0,
  }
}

/** To the experts and back: rows copied by their indices, or products with one-hot matrices [T, N·C]. */
function dispatch({ model: { moe, width }, plan, tokens, bytes }: Slice, rows: number, columns: number): Component {
  if (!moe) throw new Error('internal: no experts in a dense model')
  const choices = activatedExperts(moe)
  if (plan.dispatch === 'gather') {
    const there = 2 * rows * width
    const back = (rows + choices * tokens) * columns
    const passBytes = (there + back) * bytes
    return { ...nothing, kind: 'dispatch', passBytes, gradientPassBytes: passBytes, kernels: 4 }
  }
  // A matrix for each group, of its tokens and its slots.
  const count = moe.groups
  const group = tokens / count
  const slots = (moe.experts * capacityOf(moe, tokens)) / count
  return {
    ...nothing,
    kind: 'dispatch',
    products: [
      { count, m: slots, n: width, k: group },
      { count, m: group, n: columns, k: slots },
    ],
    // Both matrices are written from their factors, and kept: one of places, one of gates.
    passBytes: 2 * 2 * tokens * slots * bytes,
    gradientPassBytes: tokens * slots * bytes,
    kernels: 4,
    keptBytes: 2 * tokens * slots * bytes,
  }
}
