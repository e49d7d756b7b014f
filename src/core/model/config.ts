/**
 * The configuration of a model: every architectural choice with its default; `moe-config.ts` has the choices of sparse
 * layers. It is pure data: nothing here knows how a layer is computed.
 */
import { z } from 'zod'
import { checkLayer, checkPlaces, layerSchema } from './config/layer-config.ts'
import { floats, sizes } from './config/limits.ts'
import { checkMoe, moeSchema } from './config/moe-config.ts'

const positive = z.int().positive()

/**
 * How rotary positions reach beyond the sequences that a model was trained on; `rotary.ts` has the formulas. `original`
 * is the longest sequence that the model was trained on without scaling.
 */
const rotaryScalingSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('linear'), factor: z.number().min(1) }),
  z.strictObject({
    kind: z.literal('yarn'),
    factor: z.number().min(1),
    original: positive,
    betaFast: floats.positive.default(32),
    betaSlow: floats.positive.default(1),
    /** Factor of queries and keys; null = 0.1·ln(factor) + 1. */
    attentionFactor: floats.positive.nullable().default(null),
    /** Whether the ends of the ramp are rounded to whole frequencies. */
    truncate: z.boolean().default(true),
  }),
  z.strictObject({
    kind: z.literal('llama3'),
    factor: z.number().min(1),
    original: positive,
    lowFactor: floats.positive.default(1),
    highFactor: floats.positive.default(4),
  }),
])

/** A positive number, or the name of one that follows from the model's width. */
const scaleSchema = <const T extends readonly string[]>(names: T) => z.union([floats.positive, z.enum(names)])

export const modelSchema = z
  .strictObject({
    /** Tokens in the vocabulary, V. */
    vocabulary: sizes.vocabulary.default(4096),
    layers: sizes.layers.default(4),
    /** Model width, D. */
    width: sizes.width.default(256),
    /** Attention heads of queries, H; without `headWidth`, D must be a multiple. */
    heads: sizes.heads.default(4),
    /** Heads of keys and values, each shared by H / keyValueHeads heads of queries (Ainslie et al. 2023); null = H. */
    keyValueHeads: sizes.heads.nullable().default(null),
    /** Width of a head, d; null = D/H. */
    headWidth: sizes.width.nullable().default(null),
    /**
     * RMS norm of queries and keys before rotation: over all their heads together (`width`: OLMoE), or over each head,
     * with one weight vector for all (`head`: Qwen3).
     */
    queryKeyNorm: z.enum(['none', 'width', 'head']).default('none'),
    /** Biases of the projection to queries, keys and values (`qkv`: Qwen2), or of the output projection too (`all`). */
    attentionBias: z.enum(['none', 'qkv', 'all']).default('none'),
    /** Factor of attention scores (Granite: attention_multiplier); null = 1/√d. */
    attentionScale: floats.positive.nullable().default(null),
    /**
     * Number of positions that a token sees, its own included (sliding window: Mistral 7B); null = all earlier ones.
     */
    window: positive.nullable().default(null),
    /**
     * Period of the layers without the window: the last of every `fullEvery` layers sees all positions; 0 = no layer.
     */
    fullEvery: z.int().nonnegative().default(0),
    /** Longest sequence, S. */
    sequence: sizes.sequence.default(256),
    positions: z.enum(['rotary', 'learned']).default('rotary'),
    rotaryBase: floats.positive.default(10000),
    rotaryScaling: rotaryScalingSchema.nullable().default(null),
    norm: z.enum(['rms', 'layer']).default('rms'),
    normEpsilon: floats.positive.default(1e-5),
    activation: z.enum(['gelu', 'swiglu']).default('gelu'),
    /** Hidden width of dense feed-forward layers, F. */
    hidden: sizes.width.default(1024),
    /**
     * Whether the output projection is the transposed token embedding. It saves V·D parameters, but in the first steps
     * the softmax moves all rows of the table the same way, so tokens become similar at the input
     * (docs/configuration.md).
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
    /** Factor of what attention and feed-forward networks add to the residual stream (Granite: residual_multiplier). */
    residualScale: floats.positive.default(1),
    /** Sparse expert layers; null for a dense model. */
    moe: moeSchema.nullable().prefault({}),
    /** A layer of the user's own in place of dense feed-forward networks; null for none. */
    layer: layerSchema.nullable().default(null),
  })
  .superRefine((model, context) => {
    const refuse = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
    const { width, heads, headWidth, keyValueHeads, moe } = model
    if (headWidth === null && width % heads !== 0) refuse(['heads'], `must divide width ${width}, or set headWidth`)
    else if (model.positions === 'rotary' && headWidthOf(model) % 2 !== 0)
      refuse(
        [headWidth === null ? 'heads' : 'headWidth'],
        `heads must have an even width for rotary positions, got ${headWidthOf(model)}`,
      )
    if (keyValueHeads !== null && heads % keyValueHeads !== 0) refuse(['keyValueHeads'], `must divide heads ${heads}`)
    if (model.fullEvery > 0 && model.window === null) refuse(['fullEvery'], 'must be 0 without a window')
    if (model.rotaryScaling && model.positions !== 'rotary')
      refuse(['rotaryScaling'], 'must be null unless positions is "rotary"')
    if (model.attentionBias !== 'none' && moe && moe.attention !== 'none')
      refuse(['attentionBias'], 'must be "none" with experts in attention (moe.attention)')
    const { layers, layer } = model
    if (layer) checkLayer({ layers, moe, layer }, (field, message) => refuse(['layer', ...field], message))
    if (!moe) return
    checkPlaces(moe, layers, 'sparse', (field, message) => refuse(['moe', ...field], message))
    checkMoe(moe, (field, message) => refuse(['moe', ...field], message))
  })

/** Width of an attention head, d. */
export const headWidthOf = ({ width, heads, headWidth }: Pick<ModelConfig, 'width' | 'heads' | 'headWidth'>): number =>
  headWidth ?? width / heads

/** Number of columns of the queries (H·d), and of the keys; the values have as many as the keys. */
export function attentionColumns(config: Pick<ModelConfig, 'width' | 'heads' | 'headWidth' | 'keyValueHeads'>) {
  const head = headWidthOf(config)
  return { queries: config.heads * head, keys: (config.keyValueHeads ?? config.heads) * head }
}

/** Factor of the scores of attention. */
export const attentionScaleOf = (
  config: Pick<ModelConfig, 'width' | 'heads' | 'headWidth' | 'attentionScale'>,
): number => config.attentionScale ?? 1 / Math.sqrt(headWidthOf(config))

/** Number of positions that a token sees in a layer, its own included; null if it sees all earlier positions. */
export const windowOf = ({ window, fullEvery }: Pick<ModelConfig, 'window' | 'fullEvery'>, layer: number) =>
  fullEvery > 0 && (layer + 1) % fullEvery === 0 ? null : window

/** The value of `embeddingScale` as a number. */
export const embeddingScaleOf = ({ embeddingScale, width }: Pick<ModelConfig, 'embeddingScale' | 'width'>): number => {
  if (typeof embeddingScale === 'number') return embeddingScale
  return embeddingScale === 'sqrt-width' ? Math.sqrt(width) : width / 3
}

/** The value of `headScale` as a number. */
export const headScaleOf = ({ headScale, width }: Pick<ModelConfig, 'headScale' | 'width'>): number =>
  typeof headScale === 'number' ? headScale : 1 / Math.sqrt(width)

export type ModelConfig = z.output<typeof modelSchema>
