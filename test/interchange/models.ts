/** Published decoders in float64. One function per architecture has the MLP of a layer in its modelling file. */
import {
  type AttentionKind,
  attention,
  type Config,
  linear,
  mlp,
  plus,
  rmsNorm,
  silu,
  softmax,
  topk,
  type Vector,
} from './decoder.ts'
import type { Weights } from './weights.ts'

interface Kind extends AttentionKind {
  /** The feed-forward network of a layer, dense or sparse. */
  ffn(w: Weights, config: Config, layer: number, x: Vector): Vector
  readonly embedding?: number
  readonly residual?: number
  readonly logits?: number
}

/** Scale of routers, so that choices are far from ties. */
const ROUTER = 3

const dense = (w: Weights, config: Config, layer: number, x: Vector): Vector =>
  mlp(w, `model.layers.${layer}.mlp`, x, config.intermediate_size)

/** Σ weight · expert(x) over the chosen experts. All experts are computed, since all have weights in a file. */
function weighted(
  experts: number,
  chosen: readonly number[],
  weights: readonly number[],
  expert: (e: number) => Vector,
): Vector {
  const outputs = Array.from({ length: experts }, (_, e) => expert(e))
  return chosen.reduce<Vector>(
    (sum, e, i) => plus(sum, outputs[e] as Vector, weights[i]),
    (outputs[0] as Vector).map(() => 0),
  )
}

const divided = (weights: readonly number[]): number[] => {
  const sum = weights.reduce((total, value) => total + value, 0)
  return weights.map((value) => value / sum)
}

const pick = (values: Vector, chosen: readonly number[]): number[] => chosen.map((e) => values[e] as number)

/** MixtralSparseMoeBlock: softmax over all experts, top-k, weights divided by their sum. */
function mixtral(w: Weights, config: Config, layer: number, x: Vector): Vector {
  const name = `model.layers.${layer}.block_sparse_moe`
  const experts = config.num_local_experts
  const logits = linear(x, w.linear(`${name}.gate.weight`, [experts, x.length], ROUTER), experts)
  const probabilities = softmax(logits)
  const chosen = topk(probabilities, config.num_experts_per_tok)
  return weighted(experts, chosen, divided(pick(probabilities, chosen)), (e) =>
    mlp(w, `${name}.experts.${e}`, x, config.intermediate_size, ['w1', 'w3', 'w2']),
  )
}

/** OlmoeSparseMoeBlock, Qwen2MoeSparseMoeBlock and Qwen3MoeSparseMoeBlock without a shared expert. */
function separate(w: Weights, config: Config, layer: number, x: Vector, hidden: number): Vector {
  const name = `model.layers.${layer}.mlp`
  const logits = linear(x, w.linear(`${name}.gate.weight`, [config.num_experts, x.length], ROUTER), config.num_experts)
  const probabilities = softmax(logits)
  const chosen = topk(probabilities, config.num_experts_per_tok)
  const weights = pick(probabilities, chosen)
  return weighted(config.num_experts, chosen, config.norm_topk_prob ? divided(weights) : weights, (e) =>
    mlp(w, `${name}.experts.${e}`, x, hidden),
  )
}

/** `layer_idx not in mlp_only_layers and (layer_idx + 1) % decoder_sparse_step == 0` */
const isQwenSparse = (config: Config, layer: number): boolean =>
  !config.mlp_only_layers.includes(layer) && (layer + 1) % config.decoder_sparse_step === 0

function qwen2Moe(w: Weights, config: Config, layer: number, x: Vector): Vector {
  if (!isQwenSparse(config, layer)) return dense(w, config, layer, x)
  const name = `model.layers.${layer}.mlp`
  const shared = mlp(w, `${name}.shared_expert`, x, config.shared_expert_intermediate_size)
  const [gate = 0] = linear(x, w.linear(`${name}.shared_expert_gate.weight`, [1, x.length]), 1)
  return plus(separate(w, config, layer, x, config.moe_intermediate_size), shared, 1 / (1 + Math.exp(-gate)))
}

function qwen3Moe(w: Weights, config: Config, layer: number, x: Vector): Vector {
  if (!isQwenSparse(config, layer)) return dense(w, config, layer, x)
  return separate(w, config, layer, x, config.moe_intermediate_size)
}

/** GraniteMoeMoE: the k largest logits, then softmax; `input_linear` of an expert is [2f, d], chunked in two. */
function granite(w: Weights, config: Config, layer: number, x: Vector): Vector {
  const name = `model.layers.${layer}.block_sparse_moe`
  const [experts, hidden, width] = [config.num_local_experts, config.intermediate_size, x.length]
  const logits = linear(x, w.linear(`${name}.router.layer.weight`, [experts, width], ROUTER), experts)
  const chosen = topk(logits, config.num_experts_per_tok)
  const input = w.linear(`${name}.input_linear.weight`, [experts, 2 * hidden, width])
  const output = w.linear(`${name}.output_linear.weight`, [experts, width, hidden])
  return weighted(experts, chosen, softmax(pick(logits, chosen)), (e) => {
    const both = linear(x, input, 2 * hidden, e * 2 * hidden)
    const inner = both.slice(0, hidden).map((value, i) => silu(value) * (both[hidden + i] as number))
    return linear(inner, output, width, e * width)
  })
}

/** GraniteMoeShared: `moe(x) + shared_mlp(x)`. */
function graniteShared(w: Weights, config: Config, layer: number, x: Vector): Vector {
  const name = `model.layers.${layer}.shared_mlp`
  const [hidden, width] = [config.shared_intermediate_size, x.length]
  const both = linear(x, w.linear(`${name}.input_linear.weight`, [2 * hidden, width]), 2 * hidden)
  const inner = both.slice(0, hidden).map((value, i) => silu(value) * (both[hidden + i] as number))
  const shared = linear(inner, w.linear(`${name}.output_linear.weight`, [width, hidden]), width)
  return plus(granite(w, config, layer, x), shared)
}

/** DeepseekMoE of DeepSeekMoE 16B: softmax gate, shared experts as one network. */
function deepseek(w: Weights, config: Config, layer: number, x: Vector): Vector {
  const isSparse = layer >= config.first_k_dense_replace && layer % config.moe_layer_freq === 0
  if (!isSparse) return dense(w, config, layer, x)
  const routed = separate(
    w,
    { ...config, num_experts: config.n_routed_experts },
    layer,
    x,
    config.moe_intermediate_size,
  )
  return plus(routed, sharedExperts(w, config, layer, x))
}

const sharedExperts = (w: Weights, config: Config, layer: number, x: Vector): Vector =>
  mlp(w, `model.layers.${layer}.mlp.shared_experts`, x, config.moe_intermediate_size * config.n_shared_experts)

/** Dots1MoE with Dots1TopkRouter: sigmoid scores; a bias acts on the choice in the best groups, not on the gates. */
function dots1(w: Weights, config: Config, layer: number, x: Vector): Vector {
  if (layer < config.first_k_dense_replace) return dense(w, config, layer, x)
  const name = `model.layers.${layer}.mlp`
  const [experts, groups] = [config.n_routed_experts, config.n_group]
  const logits = linear(x, w.linear(`${name}.gate.weight`, [experts, x.length], ROUTER), experts)
  const scores = logits.map((value) => 1 / (1 + Math.exp(-value)))
  const biased = plus(scores, w.vector(`${name}.gate.e_score_correction_bias`, experts, 0.2, 'F32'))
  const size = experts / groups
  const groupScores = Array.from({ length: groups }, (_, g) => {
    const [best = 0, second = 0] = biased.slice(g * size, (g + 1) * size).sort((a, b) => b - a)
    return best + second
  })
  const allowed = topk(groupScores, config.topk_group)
  const masked = biased.map((value, e) => (allowed.includes(Math.floor(e / size)) ? value : Number.NEGATIVE_INFINITY))
  const chosen = topk(masked, config.num_experts_per_tok)
  const weights = pick(scores, chosen)
  const scaled = (config.norm_topk_prob ? divided(weights) : weights).map(
    (value) => value * config.routed_scaling_factor,
  )
  const routed = weighted(experts, chosen, scaled, (e) =>
    mlp(w, `${name}.experts.${e}`, x, config.moe_intermediate_size),
  )
  return plus(routed, sharedExperts(w, config, layer, x))
}

const graniteFactors = (config: Config) => ({
  embedding: config.embedding_multiplier,
  residual: config.residual_multiplier,
  logits: config.logits_scaling,
  scale: config.attention_multiplier,
})

const ofBias = (config: Config) => ({ qkvBias: config.attention_bias, outputBias: config.attention_bias })

/** The window of a layer: `layer_types`, or all layers of Mistral. */
const windowOf = (config: Config, layer: number): number | null => {
  if (config.layer_types) return config.layer_types[layer] === 'sliding_attention' ? config.sliding_window : null
  return config.model_type === 'mistral' ? config.sliding_window : null
}

const kinds: Readonly<Record<string, (config: Config) => Kind>> = {
  llama: (config) => ({ ffn: dense, ...ofBias(config) }),
  mistral: () => ({ ffn: dense }),
  qwen2: () => ({ ffn: dense, qkvBias: true }),
  qwen3: (config) => ({ ffn: dense, norm: 'each', ...ofBias(config) }),
  granite: (config) => ({ ffn: dense, ...ofBias(config), ...graniteFactors(config) }),
  mixtral: () => ({ ffn: mixtral }),
  olmoe: () => ({ ffn: (w, config, layer, x) => separate(w, config, layer, x, config.intermediate_size), norm: 'all' }),
  qwen2_moe: () => ({ ffn: qwen2Moe, qkvBias: true }),
  qwen3_moe: (config) => ({ ffn: qwen3Moe, norm: 'each', ...ofBias(config) }),
  granitemoe: (config) => ({ ffn: granite, ...ofBias(config), ...graniteFactors(config) }),
  granitemoeshared: (config) => ({ ffn: graniteShared, ...ofBias(config), ...graniteFactors(config) }),
  deepseek: (config) => ({ ffn: deepseek, ...ofBias(config) }),
  dots1: (config) => ({ ffn: dots1, norm: 'each', ...ofBias(config) }),
}

/** Logits [T, V] of a model of this config.json. */
export function logitsOf(config: Config, w: Weights, tokens: readonly number[]): Vector[] {
  const kind = (kinds[config.model_type] as (config: Config) => Kind)(config)
  const { vocab_size: vocabulary, hidden_size: width, rms_norm_eps: epsilon } = config
  const table = w.table('model.embed_tokens.weight', [vocabulary, width], kind.embedding ? 1 / kind.embedding : 1)
  const norm = (x: Vector, name: string) => rmsNorm(x, w.norm(`${name}.weight`, width), epsilon)
  let xs = tokens.map((token) =>
    Array.from(table.subarray(token * width, (token + 1) * width), (value) => value * (kind.embedding ?? 1)),
  )
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const name = `model.layers.${layer}`
    const normed = xs.map((x) => norm(x, `${name}.input_layernorm`))
    const attended = attention(w, config, layer, normed, { ...kind, window: windowOf(config, layer) })
    xs = xs.map((x, t) => plus(x, attended[t] as Vector, kind.residual ?? 1))
    xs = xs.map((x) => {
      const branch = kind.ffn(w, config, layer, norm(x, `${name}.post_attention_layernorm`))
      return plus(x, branch, kind.residual ?? 1)
    })
  }
  const head = config.tie_word_embeddings ? table : w.linear('lm_head.weight', [vocabulary, width])
  return xs.map((x) => linear(norm(x, 'model.norm'), head, vocabulary).map((value) => value / (kind.logits ?? 1)))
}
