/**
 * Causal multi-head self-attention, one query at a time: a token attends to itself and earlier tokens of its
 * sequence, weighs them by softmax(q·k / √(D/H)), and takes the weighted sum of their values.
 */
import type { ModelConfig } from '../../src/model/config.ts'
import { at, dot, type Matrix, rowOf, softmax, type Vector } from './arithmetic.ts'

/**
 * Rotary position embedding of one head's vector, half-split as in GPT-NeoX and LLaMA: the pair
 * (u[i], u[i + d/2]) is rotated by the angle position · base^(−2i/d). Su et al., RoFormer, section 3.2.
 */
export function rotate(u: Vector, position: number, base: number): number[] {
  const half = u.length / 2
  const rotated: number[] = [...u]
  for (let i = 0; i < half; i++) {
    const angle = position * base ** ((-2 * i) / u.length)
    const first = at(u, i)
    const second = at(u, i + half)
    rotated[i] = first * Math.cos(angle) - second * Math.sin(angle)
    rotated[i + half] = second * Math.cos(angle) + first * Math.sin(angle)
  }
  return rotated
}

/**
 * @param x_TD normed activations, sequence after sequence
 * @param qkv from [T, D] to [T, 3D]: columns are all of q, then k, then v, each H contiguous heads of D/H
 * @param output from [T, D] to [T, D]
 * @param batch number of sequences, B
 * @param sees whether a token may attend to an earlier one of its sequence, both by index in x_TD
 */
export function attention(
  x_TD: Matrix,
  qkv: (x_TD: Matrix) => number[][],
  output: (y_TD: Matrix) => number[][],
  batch: number,
  config: ModelConfig,
  sees: (token: number, past: number) => boolean = () => true,
): number[][] {
  const { width: D, heads: H } = config
  const S = x_TD.length / batch
  const headSize = D / H
  const qkv_T3D = qkv(x_TD)

  /** The part of one head in q (0), k (1) or v (2) of a token. */
  const headOf = (token: number, part: 0 | 1 | 2, head: number): number[] => {
    const start = part * D + head * headSize
    return rowOf(qkv_T3D, token).slice(start, start + headSize)
  }
  const positioned = (u: number[], position: number): number[] =>
    config.positions === 'rotary' ? rotate(u, position, config.rotaryBase) : u

  const y_TD: number[][] = []
  for (let b = 0; b < batch; b++) {
    for (let s = 0; s < S; s++) {
      const heads: number[] = []
      for (let h = 0; h < H; h++) {
        const query = positioned(headOf(b * S + s, 0, h), s)
        const scores: number[] = []
        const seen: number[] = []
        for (let past = 0; past <= s; past++) {
          if (!sees(b * S + s, b * S + past)) continue
          seen.push(past)
          const key = positioned(headOf(b * S + past, 1, h), past)
          scores.push(dot(query, key) / Math.sqrt(headSize))
        }
        const weights = softmax(scores)
        for (let e = 0; e < headSize; e++) {
          let value = 0
          for (const [i, past] of seen.entries()) value += at(weights, i) * at(headOf(b * S + past, 2, h), e)
          heads.push(value)
        }
      }
      y_TD.push(heads)
    }
  }
  return output(y_TD)
}
