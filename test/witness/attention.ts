/**
 * Causal self-attention, one query at a time: a token attends to itself and earlier tokens of its sequence, weighs
 * them by softmax(scale · q·k), and takes the weighted sum of their values. With fewer heads of keys and values than
 * of queries, consecutive heads of queries share one (Ainslie et al. 2023, GQA, section 2.2).
 */
import type { ModelConfig } from '../../src/core/model/config.ts'
import { at, dot, type Matrix, rowOf, softmax, type Vector } from './arithmetic.ts'

type Scaling = ModelConfig['rotaryScaling']

/** Heads of keys and values, and the width of a head. */
export function headsOf({ width, heads, keyValueHeads, headWidth }: ModelConfig): { keyHeads: number; size: number } {
  return { keyHeads: keyValueHeads ?? heads, size: headWidth ?? width / heads }
}

/**
 * Angle by which pair i of a head of `size` turns from one position to the next: θ = base^(−2i/size). With scaling:
 * - linear: positions are divided by the factor (Chen et al. 2023, section 3.1);
 * - YaRN: pairs that turn more than betaFast times in the original length stay, those below betaSlow times are
 *   interpolated, with a ramp over the index between the two (Peng et al. 2023, section 3.2, as in `transformers`,
 *   whose ramp is over the index);
 * - llama3: the same by wavelength, with a ramp over turns (Llama 3.1 as in `transformers`).
 */
function angleOf(i: number, size: number, base: number, scaling: Scaling = null): number {
  const theta = base ** ((-2 * i) / size)
  if (scaling === null) return theta
  const { factor } = scaling
  if (scaling.kind === 'linear') return theta / factor
  if (scaling.kind === 'yarn') {
    // The index at which original · base^(−2i/size) / 2π equals a number of turns.
    const indexOf = (turns: number) => (size / 2) * (Math.log(scaling.original / turns / 2 / Math.PI) / Math.log(base))
    let first = indexOf(scaling.betaFast)
    let last = indexOf(scaling.betaSlow)
    if (scaling.truncate) {
      first = Math.floor(first)
      last = Math.ceil(last)
    }
    if (first < 0) first = 0
    if (last > size - 1) last = size - 1
    if (first === last) last += 0.001
    let interpolated = (i - first) / (last - first)
    if (interpolated < 0) interpolated = 0
    if (interpolated > 1) interpolated = 1
    return (theta / factor) * interpolated + theta * (1 - interpolated)
  }
  const wavelength = (2 * Math.PI) / theta
  if (wavelength > scaling.original / scaling.lowFactor) return theta / factor
  if (wavelength < scaling.original / scaling.highFactor) return theta
  const smooth = (scaling.original / wavelength - scaling.lowFactor) / (scaling.highFactor - scaling.lowFactor)
  return ((1 - smooth) * theta) / factor + smooth * theta
}

/**
 * Rotary position embedding of one head's vector, half-split as in GPT-NeoX and LLaMA: the pair
 * (u[i], u[i + d/2]) is rotated by the angle position · θ. Su et al., RoFormer, section 3.2. YaRN also lengthens it
 * (Peng et al. 2023, section 3.4).
 */
export function rotate(u: Vector, position: number, base: number, scaling: Scaling = null): number[] {
  const half = u.length / 2
  const length = scaling?.kind === 'yarn' ? (scaling.attentionFactor ?? 1 + Math.log(scaling.factor) / 10) : 1
  const rotated: number[] = [...u]
  for (let i = 0; i < half; i++) {
    const angle = position * angleOf(i, u.length, base, scaling)
    const first = at(u, i)
    const second = at(u, i + half)
    rotated[i] = length * (first * Math.cos(angle) - second * Math.sin(angle))
    rotated[i + half] = length * (second * Math.cos(angle) + first * Math.sin(angle))
  }
  return rotated
}

/**
 * @param x_TD normed activations, sequence after sequence
 * @param qkv from [T, D] to all heads of q, then of k, then of v
 * @param output from [T, H·d] to [T, D]
 * @param batch number of sequences, B
 * @param sees whether a token may attend to an earlier token of its sequence, both by index in x_TD
 */
export function attention(
  x_TD: Matrix,
  qkv: (x_TD: Matrix) => number[][],
  output: (y_TX: Matrix) => number[][],
  batch: number,
  config: ModelConfig,
  sees: (token: number, past: number) => boolean = () => true,
): number[][] {
  const { heads: H, rotaryBase, rotaryScaling } = config
  const { keyHeads, size } = headsOf(config)
  const S = x_TD.length / batch
  const scale = config.attentionScale ?? 1 / Math.sqrt(size)
  const qkv_TX = qkv(x_TD)

  /** Head number `head` of all heads in a row, which has the heads of queries first, then of keys, then of values. */
  const headOf = (token: number, head: number): number[] => rowOf(qkv_TX, token).slice(head * size, (head + 1) * size)
  const positioned = (u: number[], position: number): number[] =>
    config.positions === 'rotary' ? rotate(u, position, rotaryBase, rotaryScaling) : u

  const y_TX: number[][] = []
  for (let b = 0; b < batch; b++) {
    for (let s = 0; s < S; s++) {
      const heads: number[] = []
      for (let h = 0; h < H; h++) {
        const shared = Math.floor(h / (H / keyHeads))
        const query = positioned(headOf(b * S + s, h), s)
        const scores: number[] = []
        const seen: number[] = []
        for (let past = 0; past <= s; past++) {
          if (!sees(b * S + s, b * S + past)) continue
          seen.push(past)
          const key = positioned(headOf(b * S + past, H + shared), past)
          scores.push(scale * dot(query, key))
        }
        const weights = softmax(scores)
        for (let e = 0; e < size; e++) {
          let value = 0
          for (const [i, past] of seen.entries())
            value += at(weights, i) * at(headOf(b * S + past, H + keyHeads + shared), e)
          heads.push(value)
        }
      }
      y_TX.push(heads)
    }
  }
  return output(y_TX)
}
