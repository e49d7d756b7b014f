/** Which known architecture a model is, if any: one whose configuration, read back, computes the same. */
import type { Fields } from '../../../core/config/fields.ts'
import { UsageError } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { configOf } from '../architectures/config-json.ts'
import type { Architecture } from '../architectures/contract.ts'
import { type Variant, variantsOf } from './variants.ts'
import type { Weights } from './weights.ts'

export interface Chosen {
  readonly architecture: Architecture
  /** config.json, without what does not concern the model. */
  readonly config: Fields
  readonly variant: Variant
}

/** The nearest architecture, and how it differs. */
export interface NoneFits {
  readonly nearest: string
  /** Fields of `model` with the values here and there. */
  readonly differences: readonly string[]
}

/** Why an architecture cannot be used though its config.json says the same; null if it can. */
export type Objection = (architecture: Architecture, model: ModelConfig) => string | null

/** @param objectionTo Of the programs that will read the files. */
export function chooseArchitecture(
  model: ModelConfig,
  weights: Weights,
  usable: readonly Architecture[],
  objectionTo: Objection,
): Chosen | NoneFits {
  let none: NoneFits | null = null
  let refused: NoneFits | null = null
  for (const variant of variantsOf(model, weights))
    for (const architecture of usable) {
      const found = attempt(architecture, variant.model)
      if (!Array.isArray(found)) {
        const objection = objectionTo(architecture, variant.model)
        if (objection === null) return { architecture, config: found, variant }
        refused ??= { nearest: architecture.type, differences: [objection] }
        continue
      }
      // Without a list its configuration cannot hold this model at all.
      const isNearer = none === null || found.length < none.differences.length
      if (found.length > 0 && isNearer) none = { nearest: architecture.type, differences: found }
    }
  return refused ?? (none as NoneFits)
}

/** config.json, or the fields that differ. */
function attempt(architecture: Architecture, model: ModelConfig): Fields | string[] {
  try {
    return configOf(architecture, model)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    const [, ...differences] = error.message.split('\n').map((line) => line.trim())
    return differences
  }
}

/** What makes it this architecture, as the rest of a sentence that begins with `it has`. */
export function featuresOf(model: ModelConfig): string {
  const { moe, queryKeyNorm, attentionBias } = model
  const norms = {
    none: 'no norms of queries and keys',
    width: 'norms of queries and keys over their width',
    head: 'norms of the queries and keys of each head',
  }
  const biases = { none: 'no biases', qkv: 'biases of queries, keys and values', all: 'biases in attention' }
  if (!moe) return [norms[queryKeyNorm], biases[attentionBias]].join(', ')
  const sums = moe.renormalize || moe.softmax === 'after' ? 'that sum to 1' : 'that are not renormalized'
  const gates = `top-${moe.k} of ${moe.experts} experts by ${moe.scores}, with gates ${sums}`
  const shared = moe.sharedHidden > 0 ? `, a ${moe.sharedGate ? 'gated ' : ''}shared expert` : ''
  return `${gates}${shared}, ${norms[queryKeyNorm]}, ${biases[attentionBias]}`
}
