/**
 * Ways to write the same function as another model, for which there may be an architecture: unchanged, with constants
 * folded into weights, and with added parts that change nothing.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import { isSparse, parameterSpecs } from '../../../core/model/parameters.ts'
import { foldConstants } from './fold.ts'
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
          if (shape)
            return new Float32Array(shape.reduce((product, length) => product * length, 1)).fill(
              name.endsWith('.mix') ? NO_GATE : 0,
            )
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
