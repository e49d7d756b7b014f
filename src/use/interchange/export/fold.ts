/**
 * Writes a model as the same function with constant factors moved into weights.
 *
 * Choir multiplies embeddings, logits, attention scores, branches and gates by constants of the configuration. Most
 * architectures lack such constants, but each constant is next to a linear map that can take it, so a model that has
 * constants may be such an architecture after all. Logits change by rounding alone.
 */
import {
  attentionColumns,
  attentionScaleOf,
  embeddingScaleOf,
  headScaleOf,
  headWidthOf,
  type ModelConfig,
} from '../../../core/model/config.ts'
import type { Weights } from './weights.ts'

export interface Folded {
  readonly model: ModelConfig
  readonly weights: Weights
  /** Names of the constants that moved. */
  readonly folded: readonly string[]
}

/** A factor of the tensors whose names match: of their columns before `columns`, or of all columns. */
interface Factor {
  readonly pattern: RegExp
  readonly factor: number
  readonly columns?: number
}

export function foldConstants(model: ModelConfig, weights: Weights): Folded {
  const factors: Factor[] = []
  const folded: string[] = []
  const fold = (name: string, factor: number, ...moved: readonly Factor[]) => {
    if (factor === 1) return
    folded.push(`${name} ${Number(factor.toPrecision(4))}`)
    factors.push(...moved)
  }
  const { moe, tied, positions } = model
  const [embedding, head] = [embeddingScaleOf(model), headScaleOf(model)]
  fold(
    'embeddingScale',
    embedding,
    { pattern: positions === 'learned' ? /^(embedding|positions)$/ : /^embedding$/, factor: embedding },
    // The table is the head as well, so the input of the head is made smaller instead.
    ...(tied ? [{ pattern: /^norm(\.bias)?$/, factor: 1 / embedding }] : []),
  )
  fold('headScale', head, { pattern: /^norm(\.bias)?$/, factor: head })
  const residual = model.residualScale
  fold('residualScale', residual, { pattern: BRANCHES, factor: residual })
  const { queries } = attentionColumns(model)
  const scores = attentionScaleOf(model) * Math.sqrt(headWidthOf(model))
  // Rounding of 1/√d is not a constant of the model.
  fold('attentionScale', Math.abs(scores - 1) < 1e-12 ? 1 : scores, {
    ...(model.queryKeyNorm === 'none'
      ? { pattern: /\.attention\.qkv(\.bias|\.experts\.\d+\.weight)?$/, columns: queries }
      : { pattern: /\.attention\.queryNorm$/ }),
    factor: scores,
  })
  if (moe)
    fold('routedScale', moe.routedScale, {
      pattern: /\.moe\.experts\.\d+\.down$|\.attention\.(qkv|output)\.experts\.\d+\.weight$/,
      factor: moe.routedScale,
    })
  return {
    model: {
      ...model,
      embeddingScale: 1,
      headScale: 1,
      residualScale: 1,
      attentionScale: null,
      moe: moe && { ...moe, routedScale: 1 },
    },
    weights: factors.length === 0 ? weights : multiplied(weights, factors),
    folded,
  }
}

/** Last matrices of attention and of feed-forward networks, and their biases. */
const BRANCHES = /\.attention\.output(\.bias|\.experts\.\d+\.weight)?$|\.(ffn|moe\.shared|moe\.experts\.\d+)\.down$/

const multiplied = (weights: Weights, factors: readonly Factor[]): Weights => ({
  shape: (name) => weights.shape(name),
  async read(name) {
    const values = await weights.read(name)
    const own = factors.filter(({ pattern }) => pattern.test(name))
    if (own.length === 0) return values
    const width = weights.shape(name).at(-1) as number
    // The product is computed in float64, so that several factors are rounded once.
    return values.map((value, i) =>
      own.reduce((product, { factor, columns = width }) => (i % width < columns ? product * factor : product), value),
    )
  },
})
