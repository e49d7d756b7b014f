/** Chooses the known architecture that a model is, if any: its configuration, read back, computes the same. */
import type { Fields } from '../../../core/config/fields.ts'
import { UsageError } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { configOf } from '../../foreign/architectures/config-json.ts'
import type { Architecture } from '../../foreign/architectures/contract.ts'
import { type Variant, variantsOf } from './variants.ts'
import type { Weights } from './weights.ts'

export interface Chosen {
  readonly architecture: Architecture
  /** config.json, with only the keys that concern the model. */
  readonly config: Fields
  readonly variant: Variant
}

/** The nearest architecture if none fits, and how it differs. */
export interface NoneFits {
  readonly nearest: string
  /** Fields of `model` that differ, with the values of the model and of the architecture. */
  readonly differences: readonly string[]
}

/** The reason why an architecture cannot be used although its config.json describes the model; null if it can be. */
export type Objection = (architecture: Architecture, model: ModelConfig) => string | null

/** Chooses among `usable` architectures. @param objectionTo Objection of the programs that will read the files. */
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
      // If the list is empty, the configuration cannot hold this model at all.
      const isNearer = none === null || found.length < none.differences.length
      if (found.length > 0 && isNearer) none = { nearest: architecture.type, differences: found }
    }
  return refused ?? (none as NoneFits)
}

/** The config.json of a model in an architecture, or the fields that differ. */
function attempt(architecture: Architecture, model: ModelConfig): Fields | string[] {
  try {
    return configOf(architecture, model)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    const [, ...differences] = error.message.split('\n').map((line) => line.trim())
    return differences
  }
}

/** The features that decide the architecture of a model, as the rest of a sentence that begins with `it has`. */
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
