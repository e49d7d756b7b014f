/** The parameters of a model by where they lie, counted from its specifications: layer by layer, dense and expert. */
import { sizeOf } from '../../graph/shape.ts'
import type { ModelConfig } from '../../model/config.ts'
import { type ParameterSpec, parameterSpecs } from '../../model/parameters.ts'
import { factoredSize } from '../../step/optimizer/factored-size.ts'

/** Numbers of parameters, and of what a factored second moment keeps of them: a row and a column of each matrix. */
export interface Count {
  readonly parameters: number
  readonly factored: number
}

/** Held by every data-parallel rank, or by one rank of each expert-parallel group. */
export interface Part {
  readonly dense: Count
  readonly experts: Count
}

export interface Parts {
  readonly layers: readonly Part[]
  /** Token and position embeddings. */
  readonly embedding: Part
  /** Final norm and output projection. */
  readonly head: Part
  /** Parameters of the embedding that the head multiplies with as well. */
  readonly tied: Count
  readonly total: number
  /** Numbers of parameters by what they are. */
  readonly kinds: Readonly<Record<ParameterKind, number>>
}

export type ParameterKind = 'experts' | 'attention' | 'dense layers' | 'routers' | 'embedding and head' | 'norms'

const nothing: Count = { parameters: 0, factored: 0 }

export function partsOf(model: ModelConfig): Parts {
  const specs = parameterSpecs(model)
  const isLayer = ({ name }: ParameterSpec, layer: number) => name.startsWith(`layers.${layer}.`)
  const isEmbedding = ({ name }: ParameterSpec) => name === 'embedding' || name === 'positions'
  const part = (chosen: readonly ParameterSpec[]): Part => ({
    dense: sum(chosen.filter(({ stacked }) => !stacked)),
    experts: sum(chosen.filter(({ stacked }) => stacked)),
  })
  return {
    layers: Array.from({ length: model.layers }, (_, layer) => part(specs.filter((spec) => isLayer(spec, layer)))),
    embedding: part(specs.filter(isEmbedding)),
    head: part(specs.filter((spec) => !spec.name.startsWith('layers.') && !isEmbedding(spec))),
    tied: model.tied ? sum(specs.filter(({ name }) => name === 'embedding')) : nothing,
    total: sum(specs).parameters,
    kinds: {
      experts: of(specs, 'experts'),
      attention: of(specs, 'attention'),
      'dense layers': of(specs, 'dense layers'),
      routers: of(specs, 'routers'),
      'embedding and head': of(specs, 'embedding and head'),
      norms: of(specs, 'norms'),
    },
  }
}

const of = (specs: readonly ParameterSpec[], kind: ParameterKind): number =>
  sum(specs.filter(({ name }) => kindOf(name) === kind)).parameters

function kindOf(name: string): ParameterKind {
  if (/(^|\.)norm(\.bias)?$/.test(name)) return 'norms'
  if (/\.router(\.bias)?$/.test(name)) return 'routers'
  if (name.includes('.experts.')) return 'experts'
  if (name.includes('.attention.')) return 'attention'
  return name.startsWith('layers.') ? 'dense layers' : 'embedding and head'
}

const plus = (a: Count, b: Count): Count => ({
  parameters: a.parameters + b.parameters,
  factored: a.factored + b.factored,
})

export const addParts = (parts: readonly Part[]): Part =>
  parts.reduce((a, b) => ({ dense: plus(a.dense, b.dense), experts: plus(a.experts, b.experts) }), {
    dense: nothing,
    experts: nothing,
  })

function sum(specs: readonly ParameterSpec[]): Count {
  return specs.map(({ shape }) => ({ parameters: sizeOf(shape), factored: factoredSize(shape) })).reduce(plus, nothing)
}
