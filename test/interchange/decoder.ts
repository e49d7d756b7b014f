/**
 * The parts of published decoders in float64, loop by loop, from the modelling files of transformers:
 * `modeling_llama.py` (RMSNorm, rotate_half, repeat_kv, eager attention, MLP) and `modeling_rope_utils.py`. A vector is
 * a list of numbers.
 */
import type { Weights } from './weights.ts'

/** Keys of config.json; each architecture has the keys that its code reads. */
export interface Config {
  readonly [other: string]: unknown
  readonly model_type: string
  readonly hidden_size: number
  readonly num_hidden_layers: number
  readonly vocab_size: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly head_dim?: number
  readonly rms_norm_eps: number
  readonly tie_word_embeddings: boolean
  readonly intermediate_size: number
  readonly rope_theta: number
  readonly rope_scaling?: RopeScaling | null
  readonly attention_bias: boolean
  readonly sliding_window: number | null
  readonly layer_types?: readonly string[]
  readonly num_local_experts: number
  readonly num_experts: number
  readonly num_experts_per_tok: number
  readonly norm_topk_prob: boolean
  readonly moe_intermediate_size: number
  readonly shared_expert_intermediate_size: number
  readonly shared_intermediate_size: number
  readonly mlp_only_layers: readonly number[]
  readonly decoder_sparse_step: number
  readonly embedding_multiplier: number
  readonly residual_multiplier: number
  readonly attention_multiplier: number
  readonly logits_scaling: number
  readonly first_k_dense_replace: number
  readonly moe_layer_freq: number
  readonly n_routed_experts: number
  readonly n_shared_experts: number
  readonly n_group: number
  readonly topk_group: number
  readonly routed_scaling_factor: number
}

interface RopeScaling {
  readonly rope_type?: string
  readonly type?: string
  readonly factor: number
  readonly original_max_position_embeddings: number
  readonly low_freq_factor: number
  readonly high_freq_factor: number
  readonly beta_fast?: number
  readonly beta_slow?: number
  readonly attention_factor?: number
}

export type Vector = number[]

/** x·Wᵀ for W [out, in], of which rows from `first` on are used. */
export function linear(x: Vector, weight: Float64Array, out: number, first = 0): Vector {
  const y: Vector = []
  for (let row = first; row < first + out; row++) {
    let sum = 0
    for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (weight[row * x.length + i] as number)
    y.push(sum)
  }
  return y
}

export function rmsNorm(x: Vector, weight: Float64Array, epsilon: number): Vector {
  let squares = 0
  for (const value of x) squares += value * value
  const scale = 1 / Math.sqrt(squares / x.length + epsilon)
  return x.map((value, i) => value * scale * (weight[i] as number))
}

export const plus = (x: Vector, y: Vector | Float64Array, factor = 1): Vector =>
  x.map((value, i) => value + factor * (y[i] as number))

export const silu = (x: number): number => x / (1 + Math.exp(-x))

export function softmax(x: Vector): Vector {
  const top = Math.max(...x)
  const powers = x.map((value) => Math.exp(value - top))
  const sum = powers.reduce((total, value) => total + value, 0)
  return powers.map((value) => value / sum)
}

/** The indices of the k largest values. */
export const topk = (x: Vector, k: number): number[] =>
  x
    .map((_, i) => i)
    .sort((a, b) => (x[b] as number) - (x[a] as number))
    .slice(0, k)

/** down(silu(gate(x)) · up(x)) */
export function mlp(
  w: Weights,
  name: string,
  x: Vector,
  hidden: number,
  [gate, up, down]: readonly string[] = projections,
): Vector {
  const gated = linear(x, w.linear(`${name}.${gate}.weight`, [hidden, x.length]), hidden)
  const raised = linear(x, w.linear(`${name}.${up}.weight`, [hidden, x.length]), hidden)
  const inner = gated.map((value, i) => silu(value) * (raised[i] as number))
  return linear(inner, w.linear(`${name}.${down}.weight`, [x.length, hidden]), x.length)
}

const projections = ['gate_proj', 'up_proj', 'down_proj']

/** Inverse frequencies and the attention factor of `ROPE_INIT_FUNCTIONS`. */
function ropeInit(config: Config, dim: number): { inverse: number[]; factor: number } {
  const base = config.rope_theta
  const scaling = config.rope_scaling
  const type = scaling?.rope_type ?? scaling?.type ?? 'default'
  const inverse: number[] = []
  for (let i = 0; i < dim; i += 2) inverse.push(1 / base ** (i / dim))
  if (!scaling || type === 'default') return { inverse, factor: 1 }
  if (type === 'linear') return { inverse: inverse.map((value) => value / scaling.factor), factor: 1 }
  const old = scaling.original_max_position_embeddings
  if (type === 'llama3') {
    const [low, high] = [scaling.low_freq_factor, scaling.high_freq_factor]
    return {
      factor: 1,
      inverse: inverse.map((value) => {
        const wavelength = (2 * Math.PI) / value
        if (wavelength > old / low) return value / scaling.factor
        if (wavelength < old / high) return value
        const smooth = (old / wavelength - low) / (high - low)
        return ((1 - smooth) * value) / scaling.factor + smooth * value
      }),
    }
  }
  if (type !== 'yarn') throw new Error(`no witness of ${type}`)
  const correction = (rotations: number) => (dim * Math.log(old / (rotations * 2 * Math.PI))) / (2 * Math.log(base))
  const low = Math.max(Math.floor(correction(scaling.beta_fast ?? 32)), 0)
  let high = Math.min(Math.ceil(correction(scaling.beta_slow ?? 1)), dim - 1)
  if (low === high) high += 0.001
  return {
    factor: scaling.attention_factor ?? 0.1 * Math.log(scaling.factor) + 1,
    inverse: inverse.map((value, i) => {
      const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)))
      return (value / scaling.factor) * ramp + value * (1 - ramp)
    }),
  }
}

export interface AttentionKind {
  readonly qkvBias?: boolean
  readonly outputBias?: boolean
  /** Norm of queries and keys: over all heads (OLMoE) or over each (Qwen3). */
  readonly norm?: 'all' | 'each'
  readonly scale?: number
  readonly window?: number | null
}

/** Self-attention of a layer over all positions. */
export function attention(w: Weights, config: Config, layer: number, xs: Vector[], kind: AttentionKind): Vector[] {
  const name = `model.layers.${layer}.self_attn`
  const width = config.hidden_size
  const heads = config.num_attention_heads
  const shared = heads / config.num_key_value_heads
  const d = config.head_dim ?? width / heads
  const { inverse, factor } = ropeInit(config, d)

  const project = (proj: string, count: number, norm: string | null): number[][][] =>
    xs.map((x, position) => {
      let y = linear(x, w.linear(`${name}.${proj}.weight`, [count * d, width]), count * d)
      if (kind.qkvBias) y = plus(y, w.vector(`${name}.${proj}.bias`, count * d, 0.3))
      if (norm && kind.norm === 'all') y = rmsNorm(y, w.norm(`${name}.${norm}.weight`, count * d), config.rms_norm_eps)
      const split: number[][] = []
      for (let h = 0; h < count; h++) {
        let head = y.slice(h * d, (h + 1) * d)
        if (norm && kind.norm === 'each') head = rmsNorm(head, w.norm(`${name}.${norm}.weight`, d), config.rms_norm_eps)
        split.push(norm ? rotated(head, position) : head)
      }
      return split
    })

  const rotated = (head: number[], position: number): number[] => {
    const half = d / 2
    return head.map((value, i) => {
      const angle = position * (inverse[i % half] as number)
      const turned = i < half ? -(head[i + half] as number) : (head[i - half] as number)
      return (value * Math.cos(angle) + turned * Math.sin(angle)) * factor
    })
  }

  const queries = project('q_proj', heads, 'q_norm')
  const keys = project('k_proj', config.num_key_value_heads, 'k_norm')
  const values = project('v_proj', config.num_key_value_heads, null)
  return xs.map((_, t) => {
    const merged: number[] = []
    for (let h = 0; h < heads; h++) {
      const of = Math.floor(h / shared)
      const seen: number[] = []
      for (let s = 0; s <= t; s++) if (!kind.window || s > t - kind.window) seen.push(s)
      const scores = seen.map((s) => {
        let dot = 0
        for (let i = 0; i < d; i++) dot += (queries[t]?.[h]?.[i] as number) * (keys[s]?.[of]?.[i] as number)
        return dot * (kind.scale ?? d ** -0.5)
      })
      const weights = softmax(scores)
      for (let i = 0; i < d; i++) {
        let sum = 0
        for (const [j, s] of seen.entries()) sum += (weights[j] as number) * (values[s]?.[of]?.[i] as number)
        merged.push(sum)
      }
    }
    const y = linear(merged, w.linear(`${name}.o_proj.weight`, [width, heads * d]), width)
    return kind.outputBias ? plus(y, w.vector(`${name}.o_proj.bias`, width, 0.3)) : y
  })
}
