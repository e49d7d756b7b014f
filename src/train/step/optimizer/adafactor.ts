/**
 * Adafactor (Shazeer and Stern 2018) without momentum: the second moment of a matrix is kept as a
 * vector of row means and one of column means (algorithm 4), so its state is negligible, even for a
 * trillion parameters. Vectors keep the full second moment. Updates are clipped to a root mean square of 1
 * (section 6) and β₂ = 1 − t^−0.8 (section 7.2). The learning rate follows our schedule, not the
 * parameter's scale, and weight decay is decoupled.
 *
 * The matrix of each expert is updated separately. The state lies in the scratch memory of the store, so
 * that kernels find it in the same arena as the parameters.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import type { ArenaKernels } from '../../../engine/contract/arena-kernels.ts'
import { type AdafactorRange, adafactorStateSize } from '../../../engine/contract/arena-kernels.ts'
import { paddedFloats } from '../store/bank.ts'
import type { NamedTensor } from '../store/named-tensors.ts'
import type { Share } from '../store/placement.ts'
import type { ParameterStore } from '../store/store.ts'
import type { Optimizer } from './contract.ts'
import { rangeUpdate, type UpdateConfig } from './tensor-update.ts'

const DECAY_EXPONENT = 0.8

/** Scratch memory that the store must have for the state of these tensors, in floats. */
export const adafactorScratch = (specs: readonly ParameterSpec[]): number =>
  specs.reduce((floats, spec) => floats + (spec.frozen ? 0 : paddedFloats(stateSize(spec))), 0)

export function adafactor(kernels: ArenaKernels, store: ParameterStore, config: UpdateConfig): Optimizer {
  const owned = store.trainedShares().map((share) => ({ share, ranges: rangesOf(share, store) }))
  const ranges = owned.flatMap(({ share: { spec }, ranges }) => ranges.map((range) => ({ spec, range })))
  const tensors = owned.flatMap(({ share, ranges }) => stateTensors(share, ranges, store))
  return {
    update({ step, learningRate }, gate, names) {
      return kernels.adafactor(
        ranges
          .filter(({ spec }) => names?.has(spec.name) ?? true)
          .map(({ range, spec }) => ({ ...range, ...rangeUpdate(config, spec, learningRate) })),
        { beta: 1 - step ** -DECAY_EXPONENT, rate: learningRate },
        gate,
      )
    },
    stateTensors: () => tensors,
  }
}

/**
 * The tensors that are updated separately: a parameter, or one tensor per expert of a stacked parameter; `rows` is null
 * for vectors.
 */
function tensorsOf({ shape, stacked }: ParameterSpec) {
  const [count, inner] = stacked ? [shape[0] as number, shape.slice(1)] : [1, shape]
  const [rows = 0, columns = 0] = inner
  return inner.length === 2 ? { count, rows, columns } : { count, rows: null, columns: sizeOf(inner) }
}

function stateSize(spec: ParameterSpec): number {
  const { count, rows, columns } = tensorsOf(spec)
  return count * adafactorStateSize(rows, columns)
}

function rangesOf(share: Share, store: ParameterStore): AdafactorRange[] {
  const { spec, from, to } = share
  const { rows, columns } = tensorsOf(spec)
  const size = adafactorStateSize(rows, columns)
  const matrices = spec.stacked ? to - from : 1
  const { scratch } = store.allocateScratch(spec.name, matrices * size)
  const pieces = store.piecesOf(share)
  const count = matrices / pieces.length
  return pieces.map(({ arena, parameters, gradients }, i) => {
    return { arena, p: parameters, g: gradients, state: scratch + i * count * size, count, rows, columns, keep: 1 }
  })
}

/** The tensors of the state, named as in other implementations of Adafactor. */
function stateTensors({ spec, from }: Share, ranges: readonly AdafactorRange[], store: ParameterStore): NamedTensor[] {
  const starts = ranges.flatMap(({ state, count, rows, columns }) =>
    Array.from({ length: count }, (_, i) => state + i * adafactorStateSize(rows, columns)),
  )
  const { arena, rows, columns } = ranges[0] as AdafactorRange
  return starts.flatMap((start, i): NamedTensor[] => {
    const name = spec.stacked ? store.nameOfExpert(spec, from + i) : spec.name
    const tensor = (kind: string, start: number, count: number): NamedTensor => ({
      name: `${name}.${kind}`,
      shape: [count],
      range: { arena, start, count },
    })
    return rows === null
      ? [tensor('exp_avg_sq', start, columns)]
      : [tensor('exp_avg_sq_row', start, rows), tensor('exp_avg_sq_col', start + rows, columns)]
  })
}
