/**
 * The configuration of a model: every architectural choice and every option of sparse expert layers, with
 * its default. Pure data: nothing here knows how a layer is computed.
 */
import { z } from 'zod'

const positive = z.int().positive()
const nonNegative = z.number().nonnegative()

/** A positive number, or the name of one that follows from the model's width. */
const scaleSchema = <const T extends readonly string[]>(names: T) => z.union([z.number().positive(), z.enum(names)])

/** A balancing loss: `coefficient` times the named form; 0 turns it off. */
const balanceSchema = z
  .strictObject({
    /**
     * `switch`: N · Σ f_i · P_i with f_i the share of all assignments (Switch Transformers, eq. 4).
     * `gshard`: the same with f_i the share of first choices only (GShard, algorithm 1).
     */
    form: z.enum(['switch', 'gshard']).default('switch'),
    coefficient: nonNegative.default(0.01),
  })
  .prefault({})

export const moeSchema = z.strictObject({
  /** One sparse layer in every `every` layers, the last of them; the others are dense. */
  every: positive.default(1),
  /** Layers before the first period of `every`, all dense (DeepSeek-V3: `first_k_dense_replace`). */
  from: z.int().nonnegative().default(0),
  /** Experts in a layer, N. */
  experts: positive.default(8),
  /** Hidden width of an expert, F. */
  hidden: positive.default(1024),
  /** Hidden width of a shared expert that every token uses besides its routed ones; 0 = none. */
  sharedHidden: z.int().nonnegative().default(0),
  /**
   * Experts in the attention of sparse layers (M6-T, "MoE attention"): N for the projection to queries, keys
   * and values (`qkv`), or for the output projection too (`all`), each module with its own router.
   */
  attention: z.enum(['none', 'qkv', 'all']).default('none'),
  /**
   * How experts are chosen; docs/routing.md has the formulas. `expert-choice` sees later tokens of the batch,
   * which a causal language model must not: its losses are better than the text it can generate.
   */
  router: z
    .enum(['top-k', 'switch', 'prototype', 'sinkhorn', 'bias', 'expert-choice', 'hash', 'random'])
    .default('top-k'),
  /**
   * Experts that a token activates: k, or k' in every prototype for the `prototype` router. With
   * `expert-choice`, the mean at capacity factor 1; in generation, the exact number.
   */
  k: positive.default(1),
  /** Prototypes Z of the `prototype` router: groups of N/Z experts, each with its own router. */
  prototypes: positive.default(1),
  /** The k largest of a token's scores by one `fused` top-k, or by k `sequential` arg-max passes (GShard, M6-T). */
  selection: z.enum(['fused', 'sequential']).default('fused'),
  /** Seed of the tables of the `hash` router, from 0. A study sets it to the seed of the run. */
  hashSeed: z.int().nonnegative().default(0),
  /** Rounds of normalisation over experts and tokens in the `sinkhorn` router. */
  sinkhornIterations: positive.default(8),
  /** Step u of the biases of the `bias` router (Wang et al. 2024); 0 leaves them at zero. */
  biasRate: nonNegative.default(0.001),
  /** Softmax over all experts `before` the choice of k, or over the k chosen ones `after` it. */
  softmax: z.enum(['before', 'after']).default('before'),
  /** Divide the gates of a token by their sum in each prototype; they sum to 1 already with softmax `after`. */
  renormalize: z.boolean().default(false),
  /** `kx`: C = K·T/N·factor with K = k·prototypes. `1x`: C = T/N·factor whatever K (M6-T). `none`: dropless. */
  capacity: z.enum(['1x', 'kx', 'none']).default('kx'),
  /** Capacity factor γ in training. */
  factor: z.number().positive().default(1.25),
  /** Capacity factor γ in evaluation. */
  evalFactor: z.number().positive().default(2),
  /**
   * Which choices are served first when an expert is full. `position`: earlier positions, of all sequences equally;
   * no token's service depends on a later position. The others serve the batch as one queue: all first choices
   * first (`choice`), earlier tokens first, sequence after sequence (`token`), larger gates first (`gate`).
   */
  priority: z.enum(['position', 'choice', 'token', 'gate']).default('position'),
  /** With priority `position`: an expert saves unused places, up to the even load of this many positions. */
  window: positive.default(16),
  /** Number of equal groups of tokens; capacity is enforced and router losses are computed within each. */
  groups: positive.default(1),
  balance: balanceSchema,
  /** Coefficient of the router z-loss, mean of logsumexp(logits)² (ST-MoE, eq. 5); 0 = off. */
  zLoss: nonNegative.default(0.001),
  /**
   * `padded`: one batched matmul over N × C slots. `ragged`: one matmul per expert over its own rows.
   * `auto`: padded for capacity 1x, else ragged. The results are the same; only the speed differs.
   */
  compute: z.enum(['auto', 'padded', 'ragged']).default('auto'),
})

export const modelSchema = z
  .strictObject({
    /** Tokens in the vocabulary, V. */
    vocabulary: positive.default(4096),
    layers: positive.default(4),
    /** Model width, D. */
    width: positive.default(256),
    /** Attention heads, H; D must be a multiple. */
    heads: positive.default(4),
    /** Longest sequence, S. */
    sequence: positive.default(256),
    positions: z.enum(['rotary', 'learned']).default('rotary'),
    rotaryBase: z.number().positive().default(10000),
    norm: z.enum(['rms', 'layer']).default('rms'),
    normEpsilon: z.number().positive().default(1e-5),
    activation: z.enum(['gelu', 'swiglu']).default('gelu'),
    /** Hidden width of dense feed-forward layers, F. */
    hidden: positive.default(1024),
    /**
     * Whether the output projection is the transposed token embedding. It saves V·D parameters, but in the first steps
     * the softmax moves all rows of the table the same way, so tokens become similar at the input (docs/training.md).
     */
    tied: z.boolean().default(false),
    /**
     * Factor of the embeddings (of tokens and positions) at the input of the first layer: a number, `sqrt-width` for
     * √D (Vaswani et al. 2017, section 3.4; Gemma), `third-width` for D/3, or 1 (GPT-2, OLMoE). With
     * `train.init.embedding` it sets the standard deviation of a new table. At D/3 that is 3/D: small enough for the
     * loss with a tied head to begin near ln V at any width, like an output matrix in µP (Yang et al. 2022, table 3).
     */
    embeddingScale: scaleSchema(['sqrt-width', 'third-width']).default('third-width'),
    /**
     * Factor of the final activations at the input of the head: a number (Granite: 1/logits_scaling), or
     * `inverse-sqrt-width` for 1/√D (T5, PaLM).
     */
    headScale: scaleSchema(['inverse-sqrt-width']).default(1),
    /** Sparse expert layers; null for a dense model. */
    moe: moeSchema.nullable().prefault({}),
  })
  .superRefine((model, context) => {
    const refuse = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
    if (model.width % model.heads !== 0) refuse(['heads'], `must divide width ${model.width}`)
    else if (model.positions === 'rotary' && (model.width / model.heads) % 2 !== 0)
      refuse(['heads'], `width / heads must be even for rotary positions, got ${model.width / model.heads}`)
    const moe = model.moe
    if (!moe) return
    if (moe.every > model.layers) refuse(['moe', 'every'], `must be at most layers ${model.layers}`)
    else if (moe.from + moe.every > model.layers)
      refuse(['moe', 'from'], `must be at most layers − every = ${model.layers - moe.every}, or no layer is sparse`)
    if (moe.router === 'prototype') {
      if (moe.experts % moe.prototypes !== 0) refuse(['moe', 'prototypes'], `must divide experts ${moe.experts}`)
      else if (moe.k > moe.experts / moe.prototypes)
        refuse(['moe', 'k'], `must be at most experts / prototypes = ${moe.experts / moe.prototypes}`)
    } else {
      if (moe.prototypes !== 1) refuse(['moe', 'prototypes'], `must be 1 unless router is "prototype"`)
      if (moe.k > moe.experts) refuse(['moe', 'k'], `must be at most experts ${moe.experts}`)
    }
    if (moe.router === 'switch' && moe.k !== 1) refuse(['moe', 'k'], 'must be 1 for the switch router (use "top-k")')
    if (moe.router === 'switch' && (moe.softmax === 'after' || moe.renormalize))
      refuse(['moe', 'router'], 'the switch router takes its gate from the softmax over all experts (use "top-k")')
    const routerless = moe.router === 'hash' || moe.router === 'random'
    if (routerless && moe.priority === 'gate')
      refuse(['moe', 'priority'], `"gate" needs a learned router, not "${moe.router}"`)
    if (moe.selection === 'sequential' && (routerless || moe.router === 'expert-choice'))
      refuse(['moe', 'selection'], `must be "fused" for "${moe.router}", where tokens do not choose their best experts`)
    if (moe.router === 'expert-choice')
      refuseForExpertChoice(moe, (field, message) => refuse(['moe', ...field], message))
  })

/** Refuses settings of how tokens choose, or of which choices an expert drops. */
function refuseForExpertChoice(
  { capacity, priority, softmax, renormalize, balance }: z.output<typeof moeSchema>,
  refuse: (field: string[], message: string) => void,
): void {
  if (capacity === 'none')
    refuse(['capacity'], 'must be "1x" or "kx": the capacity is the number of tokens that each expert takes')
  // `choice` was once the default, so configurations of older runs contain it.
  if (priority !== 'position' && priority !== 'choice')
    refuse(['priority'], 'must be "position" (the default): each expert takes the tokens with the largest gates')
  if (softmax !== 'before') refuse(['softmax'], 'must be "before": the gate is the softmax over all experts')
  if (renormalize) refuse(['renormalize'], 'must be false: the gate is the softmax over all experts')
  if (balance.form !== 'switch') refuse(['balance', 'form'], 'must be "switch": there are no first choices to count')
}

/** The value of `embeddingScale` as a number. */
export const embeddingScaleOf = ({ embeddingScale, width }: Pick<ModelConfig, 'embeddingScale' | 'width'>): number => {
  if (typeof embeddingScale === 'number') return embeddingScale
  return embeddingScale === 'sqrt-width' ? Math.sqrt(width) : width / 3
}

/** The value of `headScale` as a number. */
export const headScaleOf = ({ headScale, width }: Pick<ModelConfig, 'headScale' | 'width'>): number =>
  typeof headScale === 'number' ? headScale : 1 / Math.sqrt(width)

export type ModelConfig = z.output<typeof modelSchema>
export type MoeConfig = z.output<typeof moeSchema>

/** Whether capacity becomes available position by position, which requires whole sequences in a group. */
export const isServedByPosition = ({ priority, capacity, router }: MoeConfig): boolean =>
  priority === 'position' && capacity !== 'none' && router !== 'expert-choice'
