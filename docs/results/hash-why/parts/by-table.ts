/**
 * A router that reads no activations: the logits of a token are a row of a table. The setting `by` says which row: that
 * of the token itself (`token`, the default), of the token before it in its sequence (`before`), or of its position
 * (`position`). Choices and gates are those of top-k: the k experts with the largest probabilities, which are the gates,
 * divided by their sum with `renormalize`.
 *
 * A table that is trained is a learned router whose routes follow from the token alone. One that stays as it was drawn
 * is a random hash (Roller et al. 2021, "Hash Layers", which also tries the token before and the position); with
 * `renormalize` its gates sum to 1. The setting `rows` is the number of rows: with fewer than the vocabulary, or than the
 * positions of a sequence, several of them share a row.
 *
 *     choir check examples/routers/by-table.ts
 *     choir train demo --set model.moe.router=examples/routers/by-table.ts --set model.moe.prototypes=1 \
 *       --set model.moe.settings.rows=2048
 *     choir train demo --set model.moe.router=examples/routers/by-table.ts --set model.moe.prototypes=1 \
 *       --set model.moe.settings.by=before --set model.moe.settings.rows=2048 --set model.moe.renormalize=true \
 *       --set 'train.freeze=["*.router"]'
 */
import { concat, constant, divide, gather, remainder, reshape, slice, softmax, sum, topK } from 'choir/graph'
import type { Tensor } from 'choir/graph'
import type { OwnRouter, RouterInput } from 'choir'

const router: Omit<OwnRouter, 'name'> = {
  sees: 'past',
  settings: { by: 'token', rows: 1024 },
  parameters: ({ moe, settings: { rows } }) => ({ weight: { shape: [Number(rows), moe.experts], init: 'normal' } }),
  choose(input) {
    const { moe, weights, settings } = input
    const logits_TN = gather(weights.weight!, remainder(indexOf(input), Number(settings.rows)))
    const probability_TN = softmax(logits_TN)
    const [best_TK, expert_TK] = topK(probability_TN, moe.k)
    const byPrototype = [expert_TK.shape[0] as number, 1, moe.experts]
    return {
      expert_TK,
      gate_TK: moe.renormalize ? divide(best_TK, sum(best_TK, { axes: [-1], keepDims: true })) : best_TK,
      logits_TZN: reshape(logits_TN, byPrototype),
      probability_TZN: reshape(probability_TN, byPrototype),
    }
  },
}

/** The id or position of each token's row [T]. With `before`, the first token of a sequence takes id 0. */
function indexOf({ tokens_T, sequence, settings: { by } }: RouterInput): Tensor {
  const [tokens = 0] = tokens_T.shape
  if (by === 'token') return tokens_T
  if (by === 'position')
    return constant(Int32Array.from({ length: tokens }, (_, t) => t % sequence), 'int32', [tokens])
  if (by !== 'before') throw new Error(`by is ${by} (expected token, before or position)`)
  const sequences = tokens / sequence
  const first = constant(new Int32Array(sequences), 'int32', [sequences, 1])
  const others = slice(reshape(tokens_T, [sequences, sequence]), 1, 0, sequence - 1)
  return sequence === 1 ? reshape(first, [tokens]) : reshape(concat([first, others], 1), [tokens])
}

export default router
