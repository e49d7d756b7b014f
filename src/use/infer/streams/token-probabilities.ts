/** Log-probabilities of tokens, from the logits that predicted them. */
import { mostProbable } from '../generation/sampling.ts'

export interface TokenProbability {
  readonly id: number
  /** The logarithm of the probability, nats. */
  readonly logProbability: number
}

/** A token of a text, with the most probable tokens in its place, the most probable first. */
export interface RatedToken extends TokenProbability {
  readonly top: readonly TokenProbability[]
}

/**
 * Rates a token by the softmax of the logits, as scores do. Temperature, `topK` and `topP` do not change it.
 * @param count The most probable tokens are among the first `count` ids.
 * @param top Number of the most probable tokens.
 */
export function rate(logits: Float32Array, count: number, id: number, top: number): RatedToken {
  let largest = Number.NEGATIVE_INFINITY
  const { length } = logits
  for (let i = 0; i < length; i++) largest = Math.max(largest, logits[i] as number)
  let mass = 0
  for (let i = 0; i < length; i++) mass += Math.exp((logits[i] as number) - largest)
  const logMass = largest + Math.log(mass)
  const of = (each: number): TokenProbability => ({ id: each, logProbability: (logits[each] as number) - logMass })
  const ids = top > 0 ? mostProbable(logits, count, Math.min(top, count)) : []
  return { ...of(id), top: Array.from(ids, of) }
}
