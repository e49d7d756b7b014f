/**
 * The shape of a model: every architectural choice, and every factor of sparse expert layers, as a
 * setting with its default. Pure data: nothing here knows how a layer is computed.
 */
import { z } from 'zod'

const positive = z.int().positive()
const nonNegative = z.number().nonnegative()

/** A positive number, or a name for one that follows from the model's width. */
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
  /** A sparse layer every so many layers; the others are dense. The last of each `every` is sparse. */
  every: positive.default(1),
  /** Experts in a layer, N. */
  experts: positive.default(8),
  /** Hidden width of an expert, F. */
  hidden: positive.default(1024),
  /** Hidden width of an expert that every token passes through besides its routed ones; 0 = none. */
  sharedHidden: z.int().nonnegative().default(0),
  /**
   * Experts in the attention of sparse layers (M6-T, "MoE attention"): N of the projection to queries, keys
   * and values (`qkv`), and of the output projection too (`all`), each with a router of its own.
   */
  attention: z.enum(['none', 'qkv', 'all']).default('none'),
  /**
   * Who chooses, and by what; docs/routing.md has the formulas. `expert-choice` sees later tokens of the
   * batch, which a causal language model must not: its losses are better than what it can write.
   */
  router: z
    .enum(['top-k', 'switch', 'prototype', 'sinkhorn', 'bias', 'expert-choice', 'hash', 'random'])
    .default('top-k'),
  /**
   * Experts that a token activates: k, or k' in every prototype for the `prototype` router. With
   * `expert-choice` the mean at capacity factor 1, and in generation the number.
   */
  k: positive.default(1),
  /** Prototypes Z of the `prototype` router: groups of N/Z experts, each with its own router. */
  prototypes: positive.default(1),
  /** The k largest of a token's scores by one `fused` top-k, or by k `sequential` arg-max passes (GShard, M6-T). */
  selection: z.enum(['fused', 'sequential']).default('fused'),
  /** Which tables the `hash` router has: 0 and up. A study sets it to the seed of the run. */
  hashSeed: z.int().nonnegative().default(0),
  /** Rounds of normalising over experts and over tokens of the `sinkhorn` router. */
  sinkhornIterations: positive.default(8),
  /** Step u of the biases of the `bias` router (Wang et al. 2024); 0 leaves them at zero. */
  biasRate: nonNegative.default(0.001),
  /** Softmax over all experts `before` the top k are taken, or over the k chosen ones `after`. */
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
   * Who is served first when an expert is full. `position`: earlier positions, of all sequences alike; no token's
   * service depends on a later position. The others serve the batch as one queue: all first choices
   * (`choice`), earlier tokens, sequence after sequence (`token`), larger gates (`gate`).
   */
  priority: z.enum(['position', 'choice', 'token', 'gate']).default('position'),
  /** With priority `position`: of how many positions' even load an expert may save up places it has not used. */
  window: positive.default(16),
  /** Capacity is enforced, and router losses are taken, within each of so many equal groups of tokens. */
  groups: positive.default(1),
  balance: balanceSchema,
  /** Coefficient of the router z-loss, mean of logsumexp(logits)² (ST-MoE, eq. 5); 0 = off. */
  zLoss: nonNegative.default(0.001),
  /**
   * `padded`: one batched matmul over N × C slots. `ragged`: a matmul an expert over its own rows.
   * `auto`: padded for capacity 1x, else ragged. The numbers are the same; only the speed differs.
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
     * The output projection is the token embedding, transposed. It saves V·D parameters, but in the first steps the
     * softmax moves all rows of the table the same way, and tokens look alike at the input (docs/training.md).
     */
    tied: z.boolean().default(false),
    /**
     * Multiplies an embedding (of a token, and of its position) where it enters the first layer: a number,
     * `sqrt-width` for √D (Vaswani et al. 2017, section 3.4; Gemma), `third-width` for D/3, or 1 (GPT-2, OLMoE). With
     * `train.init.embedding` it sets the deviation of a new table. At D/3 that is 3/D: small enough for a tied head to
     * begin near ln V at any width, as an output matrix does in µP (Yang et al. 2022, table 3).
     */
    embeddingScale: scaleSchema(['sqrt-width', 'third-width']).default('third-width'),
    /**
     * Multiplies the final activations where they enter the head: a number (Granite: 1/logits_scaling), or
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
      refuse(['moe', 'selection'], `must be "fused" for "${moe.router}": no token takes its best experts there`)
    if (moe.router === 'expert-choice')
      refuseForExpertChoice(moe, (field, message) => refuse(['moe', ...field], message))
  })

/** Settings that say how a token chooses, or which of the choices an expert refuses. */
function refuseForExpertChoice(
  { capacity, priority, softmax, renormalize, balance }: z.output<typeof moeSchema>,
  refuse: (field: string[], message: string) => void,
): void {
  if (capacity === 'none') refuse(['capacity'], 'must be "1x" or "kx": every expert takes as many tokens as it says')
  // `choice` was the default once, and stands in the configurations of older runs.
  if (priority !== 'position' && priority !== 'choice')
    refuse(['priority'], 'must be "position" (the default): experts take tokens by gate')
  if (softmax !== 'before') refuse(['softmax'], 'must be "before": the gate is the softmax over all experts')
  if (renormalize) refuse(['renormalize'], 'must be false: the gate is the softmax over all experts')
  if (balance.form !== 'switch') refuse(['balance', 'form'], 'must be "switch": there are no first choices to count')
}

/** The factor that `embeddingScale` stands for. */
export const embeddingScaleOf = ({ embeddingScale, width }: Pick<ModelConfig, 'embeddingScale' | 'width'>): number => {
  if (typeof embeddingScale === 'number') return embeddingScale
  return embeddingScale === 'sqrt-width' ? Math.sqrt(width) : width / 3
}

/** The factor that `headScale` stands for. */
export const headScaleOf = ({ headScale, width }: Pick<ModelConfig, 'headScale' | 'width'>): number =>
  typeof headScale === 'number' ? headScale : 1 / Math.sqrt(width)

export type ModelConfig = z.output<typeof modelSchema>
export type MoeConfig = z.output<typeof moeSchema>

/** Whether capacity comes in along positions, which wants whole sequences in a group. */
export const isServedByPosition = ({ priority, capacity, router }: MoeConfig): boolean =>
  priority === 'position' && capacity !== 'none' && router !== 'expert-choice'
