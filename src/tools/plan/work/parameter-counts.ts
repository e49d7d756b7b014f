/** Parameter counts of the layers, the embedding and the head of a model, with dense parameters and experts apart. */
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { factoredSize } from '../../../train/step/optimizer/factored-size.ts'
import type { LatentAttention } from '../inputs/settings.ts'
import { plannedSpecs } from './planned-model.ts'

export interface Count {
  readonly parameters: number
  /** Number of values in the factored second moment: a row and a column for each matrix. */
  readonly factored: number
  /** Number of parameters that multiply activations in float8, if that is the precision of products. */
  readonly multiplied: number
}

/** Every data-parallel rank holds the dense parameters; the experts are divided over expert-parallel ranks. */
export interface PartCounts {
  readonly dense: Count
  readonly experts: Count
}

export interface ParameterCounts {
  readonly layers: readonly PartCounts[]
  /** Token and position embeddings. */
  readonly embedding: PartCounts
  /** Final norm and output projection. */
  readonly head: PartCounts
  /** Parameters of the embedding that the head shares. */
  readonly tied: Count
  readonly total: number
  /** Number of parameters by kind. */
  readonly kinds: Readonly<Record<ParameterKind, number>>
}

export type ParameterKind = 'experts' | 'attention' | 'dense layers' | 'routers' | 'embedding and head' | 'norms'

export const noParameters: Count = { parameters: 0, factored: 0, multiplied: 0 }

/** @param latent multi-head latent attention that replaces the model's attention */
export function countParameters(model: ModelConfig, latent: LatentAttention | null = null): ParameterCounts {
  const specs = plannedSpecs(model, latent)
  const isLayer = ({ name }: ParameterSpec, layer: number) => name.startsWith(`layers.${layer}.`)
  const isEmbedding = ({ name }: ParameterSpec) => name === 'embedding' || name === 'positions'
  const part = (some: readonly ParameterSpec[]): PartCounts => ({
    dense: sum(some.filter(({ stacked }) => !stacked)),
    experts: sum(some.filter(({ stacked }) => stacked)),
  })
  return {
    layers: Array.from({ length: model.layers }, (_, layer) => part(specs.filter((spec) => isLayer(spec, layer)))),
    embedding: part(specs.filter(isEmbedding)),
    head: part(specs.filter((spec) => !spec.name.startsWith('layers.') && !isEmbedding(spec))),
    tied: model.tied ? sum(specs.filter(({ name }) => name === 'embedding')) : noParameters,
    total: sum(specs).parameters,
    kinds: {
      experts: countOfKind(specs, 'experts'),
      attention: countOfKind(specs, 'attention'),
      'dense layers': countOfKind(specs, 'dense layers'),
      routers: countOfKind(specs, 'routers'),
      'embedding and head': countOfKind(specs, 'embedding and head'),
      norms: countOfKind(specs, 'norms'),
    },
  }
}

const countOfKind = (specs: readonly ParameterSpec[], kind: ParameterKind): number =>
  sum(specs.filter(({ name }) => kindOf(name) === kind)).parameters

function kindOf(name: string): ParameterKind {
  if (/(^|\.)(norm(\.bias)?|queryNorm|keyNorm)$/.test(name)) return 'norms'
  if (/\.router(\.\w+)?$/.test(name)) return 'routers'
  if (name.includes('.experts.')) return 'experts'
  if (name.includes('.attention.')) return 'attention'
  return name.startsWith('layers.') ? 'dense layers' : 'embedding and head'
}

const plus = (a: Count, b: Count): Count => ({
  parameters: a.parameters + b.parameters,
  factored: a.factored + b.factored,
  multiplied: a.multiplied + b.multiplied,
})

export const addCounts = (counts: readonly PartCounts[]): PartCounts =>
  counts.reduce((a, b) => ({ dense: plus(a.dense, b.dense), experts: plus(a.experts, b.experts) }), {
    dense: noParameters,
    experts: noParameters,
  })

function sum(specs: readonly ParameterSpec[]): Count {
  return specs
    .map((spec) => ({
      parameters: sizeOf(spec.shape),
      factored: factoredSize(spec.shape),
      multiplied: isMultiplied(spec) ? sizeOf(spec.shape) : 0,
    }))
    .reduce(plus, noParameters)
}

/** Whether a parameter is a matrix of attention, a network or experts: routers and head stay in 16 bits. */
const isMultiplied = ({ name, shape }: ParameterSpec): boolean =>
  shape.length > 1 && ['experts', 'attention', 'dense layers'].includes(kindOf(name))
