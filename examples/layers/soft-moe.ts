/**
 * Soft mixture of experts (Puigcerver et al. 2023, "From Sparse to Soft Mixtures of Experts", arXiv 2308.00951,
 * section 2.1): no token chooses. Each expert has slots, and a slot is a mean of the tokens of a block, weighted by the
 * softmax over its tokens (dispatch, D). A token gets a mean of the results of all slots of its block, weighted by the
 * softmax over the slots (combine, C): Y = C · experts(Dᵀ·X), with logits X·Φ.
 *
 * A slot has later tokens of its block too, so this layer is not causal: its loss is better than the text that it could
 * write, and it cannot write any (`sees: 'batch'`). The paper is about images.
 *
 *     choir check examples/layers/soft-moe.ts
 *     choir train demo --set model.moe=null --set model.layer.kind=examples/layers/soft-moe.ts
 *
 * Settings: `experts`; `slots` of each expert in a block; `block`, the tokens of a block, which divides the sequence
 * (a shorter sequence is one block). With experts · slots = block, the experts compute as much as a dense network.
 */
import { gelu, matmul, reshape, softmax, transpose } from 'choir/graph'
import type { OwnLayer } from 'choir'

const layer: Omit<OwnLayer, 'name'> = {
  sees: 'batch',
  settings: { experts: 8, slots: 4, block: 32 },
  parameters({ width, hidden, settings }) {
    for (const [name, value] of Object.entries(settings))
      if (!Number.isInteger(value) || Number(value) < 1)
        throw new Error(`invalid ${name}: ${JSON.stringify(value)} (expected a positive integer)`)
    const [experts, slots] = [Number(settings.experts), Number(settings.slots)]
    return {
      phi: { shape: [width, experts * slots], init: 'normal' },
      up: { shape: [experts, width, hidden], init: 'normal' },
      down: { shape: [experts, hidden, width], init: 'branch' },
    }
  },
  apply({ x_TD, weights, sequence, settings }) {
    const [tokens = 0, width = 0] = x_TD.shape
    const [experts, slots] = [Number(settings.experts), Number(settings.slots)]
    const block = Math.min(Number(settings.block), sequence)
    if (sequence % block !== 0) throw new Error(`the block of ${block} tokens does not divide the sequence ${sequence}`)
    const blocks = tokens / block
    const logits = reshape(matmul(x_TD, weights.phi!), [blocks, block, experts * slots])
    const dispatch = softmax(transpose(logits, [0, 2, 1]))
    const combine = softmax(logits)
    // The slots of all blocks, expert by expert.
    const mixed = reshape(matmul(dispatch, reshape(x_TD, [blocks, block, width])), [blocks, experts, slots, width])
    const rows = reshape(transpose(mixed, [1, 0, 2, 3]), [experts, blocks * slots, width])
    const results = reshape(matmul(gelu(matmul(rows, weights.up!)), weights.down!), [experts, blocks, slots, width])
    const bySlot = reshape(transpose(results, [1, 0, 2, 3]), [blocks, experts * slots, width])
    return reshape(matmul(combine, bySlot), [tokens, width])
  },
}

export default layer
