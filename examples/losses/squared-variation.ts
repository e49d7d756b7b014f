/**
 * The importance loss of the first sparse mixture of experts (Shazeer et al. 2017, arXiv 1701.06538, eq. 6 and 7): the
 * importance of an expert is the sum of its gates over a group of tokens, and the loss is the square of the coefficient
 * of variation of the importances, 0 if all experts are as important. It balances gates, not numbers of tokens.
 *
 *     choir check examples/losses/squared-variation.ts
 *     choir train demo --set model.moe.balance.form=examples/losses/squared-variation.ts
 */
import { divide, mean, multiply, oneHot, reshape, square, subtract, sum } from 'choir/graph'
import type { OwnBalance } from 'choir'

const balance: Omit<OwnBalance, 'name'> = {
  loss({ moe, expert_TK, gate_TK, groups }) {
    const [tokens = 0, choices = 0] = gate_TK.shape
    const ofExperts = multiply(
      oneHot(expert_TK, moe.experts, gate_TK.dtype),
      reshape(gate_TK, [tokens, choices, 1]),
    )
    const importance = sum(reshape(ofExperts, [groups, (tokens / groups) * choices, moe.experts]), { axes: [1] })
    const even = mean(importance, { axes: [1], keepDims: true })
    const variance = mean(square(subtract(importance, even)), { axes: [1], keepDims: true })
    return mean(divide(variance, square(even)))
  },
}

export default balance
