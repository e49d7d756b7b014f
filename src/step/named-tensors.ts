/**
 * The tensors of a store as they are named in checkpoints: every expert is a tensor, with its global id, and so is every
 * block of rows of a moment.
 */
import { sizeOf } from '../graph/shape.ts'
import type { ParameterSpec } from '../model/parameters.ts'
import type { ArenaRange } from '../runtime/arena.ts'
import { placeOf, unitsOf } from './ranks/placement.ts'
import type { ParameterStore } from './store.ts'

export interface NamedTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly range: ArenaRange
}

/** The parameters on this rank. */
export const parameterTensors = (store: ParameterStore): NamedTensor[] =>
  store.specs.flatMap((spec) =>
    spec.stacked ? experts(store, spec, [0, spec.shape[0] as number]) : [whole(store, spec)],
  )

/** {@link parameterTensors} that this rank writes: those that it owns, whole ones if it owns their first rows. */
export const ownedTensors = (store: ParameterStore): NamedTensor[] =>
  store.ownedShares().flatMap(({ spec, from, to }) => {
    if (spec.stacked) return experts(store, spec, [from, to])
    return from === 0 ? [whole(store, spec)] : []
  })

/** Optimizer state number `index` of the owned parameters that are trained. */
export const momentTensors = (store: ParameterStore, index: number, suffix: string): NamedTensor[] =>
  store.trainedShares().flatMap(({ spec, from, to, start }) => {
    const isDivided = unitsOf(spec, store.layout) > 1
    const all = store.moment(spec.name, index)
    const row = sizeOf(spec.shape.slice(1))
    return Array.from({ length: to - from }, (_, i): NamedTensor => {
      const unit = placeOf(spec, from + i, from + i + 1, store.layout)
      const range = { ...all, start: all.start + unit.start - start, count: unit.floats }
      if (spec.stacked)
        return { name: `${store.nameOfExpert(spec, from + i)}${suffix}`, shape: spec.shape.slice(1), range }
      const [first, count] = [unit.start / row, unit.floats / row]
      return {
        name: `${spec.name}${suffix}${isDivided ? `[${first}:${first + count}]` : ''}`,
        shape: [count, ...spec.shape.slice(1)],
        range,
      }
    })
  })

const whole = (store: ParameterStore, { name, shape }: ParameterSpec): NamedTensor => {
  return { name, shape, range: store.parameter(name) }
}

const experts = (store: ParameterStore, spec: ParameterSpec, [from, to]: readonly [number, number]): NamedTensor[] =>
  Array.from({ length: to - from }, (_, i) => ({
    name: store.nameOfExpert(spec, from + i),
    shape: spec.shape.slice(1),
    range: store.parameter(spec.name, from + i),
  }))
