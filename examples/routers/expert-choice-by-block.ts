/**
 * Expert choice (Zhou et al. 2022, arXiv 2202.09368) that sees earlier tokens only: an expert takes a token if its
 * probability is at least that of the c-th best token of the block before, where c = k · block / N is the even share of a
 * block of 16 tokens, or as many as the setting `block`. In the paper an expert takes the c best tokens of the batch, later ones included; here the limit
 * comes from the past, so an expert takes c tokens of a block on average, and the model can write text (`sees: 'past'`:
 * the token itself and the block before it in its sequence; in the first block every token is taken).
 *
 * A token keeps the k best experts that take it. If fewer take it, its other choices have a gate of 0: they change
 * nothing, but count in the load of their experts.
 *
 *     choir check examples/routers/expert-choice-by-block.ts
 *     choir train demo --set model.moe.router=examples/routers/expert-choice-by-block.ts --set model.moe.prototypes=1
 *     choir train demo --set model.moe.router=examples/routers/expert-choice-by-block.ts --set model.moe.prototypes=1 \
 *       --set model.moe.settings.block=32
 */
import { add, concat, less, matmul, reshape, slice, softmax, takeAlong, topK, transpose, where, zeros } from 'choir/graph'
import type { Tensor } from 'choir/graph'
import type { OwnRouter } from 'choir'

const router: Omit<OwnRouter, 'name'> = {
  sees: 'past',
  settings: { block: 16 },
  parameters: ({ moe, width }) => ({ weight: { shape: [width, moe.experts], init: 'normal' } }),
  choose({ moe, x_TD, weights, sequence, settings }) {
    const { experts, k } = moe
    const block = Number(settings.block)
    if (!(Number.isInteger(block) && block > 0)) throw new Error(`block is ${block} (expected a positive integer)`)
    if (moe.prototypes > 1) throw new Error('it has one prototype only (set model.moe.prototypes=1)')
    const [tokens = 0] = x_TD.shape
    const sequences = tokens / sequence
    const blocks = Math.ceil(sequence / block)
    const logits_TN = matmul(x_TD, weights.weight!)
    const p_TN = softmax(logits_TN)
    // Zeros fill up the last block, whose limit nobody needs.
    const p_BSN = reshape(p_TN, [sequences, sequence, experts])
    const missing = blocks * block - sequence
    const filled = missing === 0 ? p_BSN : concat([p_BSN, zeros([sequences, missing, experts], p_TN)], 1)
    const byBlock = reshape(filled, [sequences, blocks, block, experts])
    const share = Math.min(block, Math.ceil((k * block) / experts))
    const [best] = topK(transpose(byBlock, [0, 1, 3, 2]), share)
    const limit = slice(best, 3, share - 1, share)
    const first = zeros([sequences, 1, experts, 1], p_TN)
    const before = blocks === 1 ? first : concat([first, slice(limit, 1, 0, blocks - 1)], 1)
    const isLeft = less(byBlock, transpose(before, [0, 1, 3, 2]))
    const ofTokens = (x: Tensor) =>
      reshape(slice(reshape(x, [sequences, blocks * block, experts]), 1, 0, sequence), [tokens, experts])
    const [, expert_TK] = topK(ofTokens(where(isLeft, byBlock, add(byBlock, 1))), k)
    const gate_TK = takeAlong(ofTokens(where(isLeft, 0, byBlock)), expert_TK, 1)
    const byPrototype = [tokens, 1, experts]
    return {
      expert_TK,
      gate_TK,
      logits_TZN: reshape(logits_TN, byPrototype),
      probability_TZN: reshape(p_TN, byPrototype),
    }
  },
}

export default router
