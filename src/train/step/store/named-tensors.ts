/**
 * The tensors of a store as they are named in checkpoints: every expert is a tensor, with its global id, and so is every
 * block of rows of a moment.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import type { ArenaRange } from '../../../engine/contract/arena.ts'
import { type CompactState, MOMENT_BLOCK, momentLayout } from '../../../engine/contract/moments.ts'
import { placeOf, unitsOf } from './placement.ts'
import type { ParameterStore } from './store.ts'

export interface NamedTensor {
  readonly name: string
  /** Type as in safetensors; default: F32. */
  readonly dtype?: 'BF16' | 'F16' | 'U8'
  readonly shape: readonly number[]
  /** All bytes of the tensor. */
  readonly range: ArenaRange
}

/** The parameters on this rank. */
export const parameterTensors = (store: ParameterStore): NamedTensor[] =>
  store.specs.flatMap((spec) =>
    spec.stacked ? experts(store, spec, [0, spec.shape[0] as number]) : [whole(store, spec)],
  )

/**
 * The {@link parameterTensors} that this rank writes: the experts that it owns, and the other tensors, as a whole,
 * whose first rows it owns.
 */
export const ownedTensors = (store: ParameterStore): NamedTensor[] =>
  store.ownedShares().flatMap(({ spec, from, to }) => {
    if (spec.stacked) return experts(store, spec, [from, to])
    return from === 0 ? [whole(store, spec)] : []
  })

/** Optimizer state number `index` of the owned parameters that are trained. */
export const momentTensors = (store: ParameterStore, index: number, suffix: string): NamedTensor[] =>
  unitsOfState(store).map(({ share, name, rows, start, floats }): NamedTensor => {
    const { spec } = share
    const all = store.moment(spec.name, index)
    const inner = spec.shape.slice(1)
    const range = { ...all, start: all.start + start - share.start, count: floats }
    return { name: name(suffix), shape: spec.stacked ? inner : [rows, ...inner], range }
  })

/** The compact moments of the owned parameters that are trained: codes [blocks, 256, 2], m first, and bounds [blocks, 2]. */
export const compactTensors = (store: ParameterStore, state: CompactState): NamedTensor[] =>
  unitsOfState(store).flatMap(({ share, unit, name, floats }): NamedTensor[] => {
    const { arena, start } = store.compactMoments(share, unit)
    const { blocks, codes, bounds } = momentLayout(state, floats)
    const tensors: NamedTensor[] = [
      {
        name: name('.exp_avg_pairs'),
        dtype: state === 'bf16' ? 'BF16' : 'U8',
        shape: [blocks, MOMENT_BLOCK, 2],
        range: { arena, start, count: codes },
      },
    ]
    const range = { arena, start: start + codes, count: bounds }
    if (bounds > 0) tensors.push({ name: name('.exp_avg_bounds'), shape: [blocks, 2], range })
    return tensors
  })

/** The units whose state this rank keeps, with the names of their tensors and their places in the parameter. */
const unitsOfState = (store: ParameterStore) =>
  store.trainedShares().flatMap((share) => {
    const { spec, from, to } = share
    const isDivided = unitsOf(spec, store.layout) > 1
    const row = sizeOf(spec.shape.slice(1))
    return Array.from({ length: to - from }, (_, i) => {
      const unit = from + i
      const { start, floats } = placeOf(spec, unit, unit + 1, store.layout)
      const [first, rows] = [start / row, floats / row]
      const block = isDivided ? `[${first}:${first + rows}]` : ''
      const name = (suffix: string) =>
        spec.stacked ? `${store.nameOfExpert(spec, unit)}${suffix}` : `${spec.name}${suffix}${block}`
      return { share, unit, name, rows, start, floats }
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
