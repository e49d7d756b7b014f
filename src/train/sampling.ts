/** Choosing the next token from logits. */
import type { Random } from './random.ts'

export interface SamplingOptions {
  /** Divides the logits; 0 = always the most probable token. */
  readonly temperature: number
  /** Only the k most probable tokens; 0 = all. */
  readonly topK: number
  /** Only the most probable tokens that together reach this probability; 1 = all. */
  readonly topP: number
}

/** A token id drawn from the first `count` logits. */
export function sample(
  logits: Float32Array,
  count: number,
  { temperature, topK, topP }: SamplingOptions,
  random: Random,
): number {
  const order = Array.from({ length: count }, (_, id) => id).sort(
    (a, b) => (logits[b] as number) - (logits[a] as number) || a - b,
  )
  const best = order[0] as number
  if (temperature === 0) return best
  const candidates = topK > 0 ? order.slice(0, topK) : order
  const weights = candidates.map((id) => Math.exp(((logits[id] as number) - (logits[best] as number)) / temperature))
  const total = weights.reduce((sum, weight) => sum + weight, 0)

  // The shortest beginning that reaches top-p: the token that crosses it is in.
  let kept = 0
  let mass = 0
  while (kept < weights.length && (kept === 0 || mass < topP * total)) mass += weights[kept++] as number
  let target = random.uniform() * mass
  for (let i = 0; i < kept; i++) {
    target -= weights[i] as number
    if (target < 0) return candidates[i] as number
  }
  return candidates[kept - 1] as number
}
