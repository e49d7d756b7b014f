/** The router's choices for the next tokens of a few texts, by the rules of src/core/model/routing/routers.ts. */
import * as declared from '../../../../../core/graph/kernels/token.ts'
import { implement } from '../../contract.ts'
import { widthOf } from '../rows.ts'

/** Number added to a divisor, so that the quotient is finite if all sigmoids round to 0. */
const TINY = 1e-20

export const chooseExperts = implement(declared.chooseExperts, {
  provider: 'WASM',
  scratch: ({ inputs: { logits } }) => 2 * 4 * widthOf(logits),

  prepare({ attributes, inputs: { logits, bias }, outputs: { experts, gates } }, { floats, integers, scratch }) {
    const { prototypes, k, after, sigmoid, renormalize, groups, groupsPerToken, pair, scale } = attributes
    const perPrototype = widthOf(logits) / prototypes
    const isLimited = groupsPerToken < groups
    /** Places of the scores from which gates are computed, and of the scores by which experts are chosen. */
    const values = scratch.offset / 4
    const ranked = values + perPrototype
    // A softmax does not change the order of logits, but it rounds small ones to the same score.
    const ranksLogits = after || (!sigmoid && !bias && !isLimited)

    const setValues = (first: number) => {
      floats.copyWithin(values, first, first + perPrototype)
      if (sigmoid)
        for (let i = values; i < values + perPrototype; i++) floats[i] = 1 / (1 + Math.exp(-(floats[i] as number)))
      else if (!after) softmax(floats, values, perPrototype)
    }
    const setRanked = (first: number, prototype: number) => {
      const from = ranksLogits ? first : values
      floats.copyWithin(ranked, from, from + perPrototype)
      if (!bias) return
      const biases = bias.offset / 4 + prototype * perPrototype
      for (let i = 0; i < perPrototype; i++)
        floats[ranked + i] = (floats[ranked + i] as number) + (floats[biases + i] as number)
    }
    /** Index, relative to `ranked`, of the largest score that is not among the `count` chosen ones. */
    const best = (chosen: number, count: number): number => {
      let top = -1
      next: for (let i = 0; i < perPrototype; i++) {
        for (let j = 0; j < count; j++) if (integers[chosen + j] === i) continue next
        if (top < 0 || (floats[ranked + i] as number) > (floats[ranked + top] as number)) top = i
      }
      return top
    }
    return {
      tasks: logits.shape[0] as number,
      run(row) {
        for (let prototype = 0; prototype < prototypes; prototype++) {
          const [first, chosen, gate] = [
            logits.offset / 4 + (row * prototypes + prototype) * perPrototype,
            experts.offset / 4 + (row * prototypes + prototype) * k,
            gates.offset / 4 + (row * prototypes + prototype) * k,
          ]
          setValues(first)
          setRanked(first, prototype)
          if (isLimited)
            excludeGroups(floats.subarray(ranked, ranked + perPrototype), groups, groupsPerToken, pair === 1)
          for (let choice = 0; choice < k; choice++) integers[chosen + choice] = best(chosen, choice)
          for (let i = 0; i < k; i++) floats[gate + i] = floats[values + (integers[chosen + i] as number)] as number
          if (after) softmax(floats, gate, k)
          let total = 1
          if (renormalize) {
            total = sigmoid ? TINY : 0
            for (let i = 0; i < k; i++) total += floats[gate + i] as number
          }
          for (let i = 0; i < k; i++) {
            floats[gate + i] = ((floats[gate + i] as number) / total) * scale.float
            integers[chosen + i] = (integers[chosen + i] as number) + prototype * perPrototype
          }
        }
      },
    }
  },
})

/**
 * Replaces the scores of experts outside the `kept` best groups by −∞. The groups have equal sizes; of equally good
 * groups the first is better.
 */
function excludeGroups(scores: Float32Array, groups: number, kept: number, pair: boolean): void {
  const size = scores.length / groups
  const worth = new Float32Array(groups)
  for (let g = 0; g < groups; g++) {
    let [first, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]
    for (let i = g * size; i < (g + 1) * size; i++) {
      const score = scores[i] as number
      if (score > first) [first, second] = [score, first]
      else if (score > second) second = score
    }
    worth[g] = pair ? first + second : first
  }
  for (let g = 0; g < groups; g++) {
    const own = worth[g] as number
    const better = worth.reduce((count, other, h) => count + (other > own || (other === own && h < g) ? 1 : 0), 0)
    if (better >= kept) scores.fill(Number.NEGATIVE_INFINITY, g * size, (g + 1) * size)
  }
}

/** Softmax of `count` floats, in place. */
function softmax(floats: Float32Array, from: number, count: number): void {
  let max = Number.NEGATIVE_INFINITY
  for (let i = from; i < from + count; i++) max = Math.max(max, floats[i] as number)
  let total = 0
  for (let i = from; i < from + count; i++) {
    const power = Math.exp((floats[i] as number) - max)
    floats[i] = power
    total += power
  }
  for (let i = from; i < from + count; i++) floats[i] = (floats[i] as number) / total
}
