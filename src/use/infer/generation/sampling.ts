/** Samples the next token from logits. */
import type { Random } from '../../../core/random.ts'

export interface SamplingOptions {
  /** Divides the logits; 0: always the most probable token. */
  readonly temperature: number
  /** Number of most probable tokens that are sampled from; 0: all tokens. */
  readonly topK: number
  /** Probability that the most probable tokens that are sampled from together reach; 1: all tokens. */
  readonly topP: number
}

/** Draws a token id from the first `count` logits. */
export function sample(
  logits: Float32Array,
  count: number,
  { temperature, topK, topP }: SamplingOptions,
  random: Random,
): number {
  const k = temperature === 0 ? 1 : topK > 0 ? Math.min(topK, count) : count
  const candidates = k <= MAX_ORDERED ? mostProbable(logits, count, k) : sortedIds(logits, count).subarray(0, k)
  const best = candidates[0] as number
  if (temperature === 0) return best
  const weights = new Float64Array(k)
  let total = 0
  for (let i = 0; i < k; i++) {
    const weight = Math.exp(((logits[candidates[i] as number] as number) - (logits[best] as number)) / temperature)
    weights[i] = weight
    total += weight
  }

  // Keep the shortest prefix that reaches top-p, including the token that crosses it.
  let kept = 0
  let mass = 0
  while (kept < k && (kept === 0 || mass < topP * total)) mass += weights[kept++] as number
  let target = random.uniform() * mass
  for (let i = 0; i < kept; i++) {
    target -= weights[i] as number
    if (target < 0) return candidates[i] as number
  }
  return candidates[kept - 1] as number
}

// A small model takes a millisecond per token, but sorting a vocabulary with a comparison function takes
// two. So few candidates are kept in order while reading the logits, and many are sorted as numbers.

/** Maximum number of candidates that are kept in order. */
const MAX_ORDERED = 256

/** Ids of the `k` largest of the first `count` logits, largest first, ties by id. It is fast for a small k. */
export function mostProbable(logits: Float32Array, count: number, k: number): Int32Array {
  const ids = new Int32Array(k)
  let found = 0
  for (let id = 0; id < count; id++) {
    const logit = logits[id] as number
    if (found === k && logit <= (logits[ids[k - 1] as number] as number)) continue
    let at = found < k ? found++ : k - 1
    for (; at > 0 && (logits[ids[at - 1] as number] as number) < logit; at--) ids[at] = ids[at - 1] as number
    ids[at] = id
  }
  return ids
}

/** Upper bound of a vocabulary. A sort key is a logit (32 bits) above an id (21 bits), exact in a float64 (53 bits). */
const MAX_IDS = 2 ** 21

/** All ids, largest logit first, ties by id. It sorts numbers that encode both. */
function sortedIds(logits: Float32Array, count: number): Int32Array {
  const values = logits.slice(0, count)
  // −0 and 0 differ in their bits; adding 0 makes both 0.
  for (let id = 0; id < count; id++) values[id] = (values[id] as number) + 0
  const bits = new Int32Array(values.buffer)
  const keys = new Float64Array(count)
  for (let id = 0; id < count; id++) {
    const b = bits[id] as number
    // As integers, the bits of negative floats sort in reverse order.
    keys[id] = (b < 0 ? b ^ 0x7fffffff : b) * -MAX_IDS + id
  }
  keys.sort()
  const ids = new Int32Array(count)
  for (let i = 0; i < count; i++) {
    const key = keys[i] as number
    ids[i] = key - Math.floor(key / MAX_IDS) * MAX_IDS
  }
  return ids
}
