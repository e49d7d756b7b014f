/** The tensors of a store as they are named in checkpoints: every expert is a tensor, with its global id. */
import type { ParameterSpec } from '../model/parameters.ts'
import { type ParameterStore, unitsOf } from './store.ts'

export interface NamedTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/** The parameters on this rank. */
export const parameterTensors = (store: ParameterStore): NamedTensor[] =>
  store.specs.flatMap((spec) =>
    tensorsOf(store, spec, [0, unitsOf(spec)], '', (expert) => store.parameter(spec.name, expert)),
  )

/** The owned ones among {@link parameterTensors}. */
export const ownedTensors = (store: ParameterStore): NamedTensor[] =>
  store
    .ownedShares()
    .flatMap(({ spec, from, to }) =>
      tensorsOf(store, spec, [from, to], '', (expert) => store.parameter(spec.name, expert)),
    )

/** Optimizer state number `index` of the owned parameters. */
export const momentTensors = (store: ParameterStore, index: number, suffix: string): NamedTensor[] =>
  store.ownedShares().flatMap(({ spec, from, to }) => {
    const all = store.moment(spec.name, index)
    const size = all.length / (to - from)
    return tensorsOf(store, spec, [from, to], suffix, (expert) => {
      const start = ((expert ?? from) - from) * size
      return all.subarray(start, start + size)
    })
  })

/** A tensor, or some experts of a stacked one. @param view The values of an expert, or of the whole tensor for null. */
function tensorsOf(
  store: ParameterStore,
  spec: ParameterSpec,
  [from, to]: readonly [number, number],
  suffix: string,
  view: (expert: number | null) => Float32Array,
): NamedTensor[] {
  const { name, shape, stacked } = spec
  if (!stacked) return [{ name: `${name}${suffix}`, shape, data: view(null) }]
  return Array.from({ length: to - from }, (_, i) => ({
    name: `${store.nameOfExpert(spec, from + i)}${suffix}`,
    shape: shape.slice(1),
    data: view(from + i),
  }))
}
