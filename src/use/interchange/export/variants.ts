/**
 * Ways to write the same function as another model, for which there may be an architecture: unchanged, with constants
 * folded into weights, and with added parts that change nothing.
 *
 * Choir multiplies embeddings, logits, attention scores, branches and gates by constants of the configuration. Most
 * architectures lack such constants, but each constant is next to a linear map that can take it, so a model that has
 * constants may be such an architecture after all. Logits change by rounding alone.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import {
  attentionColumns,
  attentionScaleOf,
  embeddingScaleOf,
  headScaleOf,
  headWidthOf,
  type ModelConfig,
} from '../../../core/model/config.ts'
import { isSparse, parameterSpecs } from '../../../core/model/parameters.ts'
import type { Weights } from './weights.ts'

/** A model that computes the same as the model of the run. */
export interface Variant {
  readonly model: ModelConfig
  readonly weights: Weights
  /** The changes in words; empty if nothing was changed. */
  readonly changes: readonly string[]
}

/** The variants of a model, the one with the fewest changes first. */
export function variantsOf(model: ModelConfig, weights: Weights): Variant[] {
  const { folded, ...same } = foldConstants(model, weights)
  const changes = folded.length === 0 ? [] : [`constants folded into weights: ${folded.join(', ')}`]
  const plain: Variant = { ...same, changes }
  return [{ model, weights, changes: [] }, ...(changes.length > 0 ? [plain] : []), ...withSharedGate(plain)]
}

/** Hidden width of a shared expert that is added. */
const ADDED_WIDTH = 32

/** Weights of a gate that is always sigmoid(0) = 1/2 in float32. They are not 0: llama.cpp's sigmoid is silu(x)/x. */
const NO_GATE = 1e-20

/**
 * The variant with a gated shared expert (Qwen2-MoE). An added gate is always 1/2, so the expert's last matrix is
 * doubled. A missing shared expert is added as an expert of zeros.
 */
function withSharedGate({ model, weights, changes }: Variant): Variant[] {
  const { moe } = model
  if (!moe || moe.sharedGate) return []
  const isAdded = moe.sharedHidden === 0
  const gated: ModelConfig = {
    ...model,
    moe: { ...moe, sharedGate: true, sharedHidden: isAdded ? ADDED_WIDTH : moe.sharedHidden },
  }
  const known = new Set(parameterSpecs(model).map(({ name }) => name))
  const added = new Map(
    parameterSpecs(gated).flatMap(({ name, shape }) => (known.has(name) ? [] : [[name, shape] as const])),
  )
  const doubled = new Set(
    Array.from({ length: model.layers }, (_, layer) => layer)
      .filter((layer) => isSparse(model, layer) && !isAdded)
      .map((layer) => `layers.${layer}.moe.shared.down`),
  )
  return [
    {
      model: gated,
      weights: {
        shape: (name) => added.get(name) ?? weights.shape(name),
        async read(name) {
          const shape = added.get(name)
          if (shape) return new Float32Array(sizeOf(shape)).fill(name.endsWith('.mix') ? NO_GATE : 0)
          const values = await weights.read(name)
          return doubled.has(name) ? values.map((value) => 2 * value) : values
        },
      },
      changes: [
        ...changes,
        isAdded
          ? `a shared expert of width ${ADDED_WIDTH} added, of zeros`
          : 'a gate of 1/2 added to the shared expert, and its output doubled',
      ],
    },
  ]
}

interface Folded {
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

function foldConstants(model: ModelConfig, weights: Weights): Folded {
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
