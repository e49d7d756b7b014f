/**
 * The gate of an update, by the global gradient norm: the root of the sum of squares of all gradients. Each unit (an
 * expert, or a block of rows of another tensor) has a sum of its own, so that the bits do not depend on how tensors are
 * spread over ranks.
 */
import type { ArenaKernels, Gate, GateOptions } from '../../../engine/contract/arena-kernels.ts'
import type { Unit } from '../store.ts'

/** @param units Units that this rank owns. */
export const gradientGate = (kernels: ArenaKernels, units: readonly Unit[], options: GateOptions): Promise<Gate> =>
  kernels.gate(
    units.map(({ arena, gradients, count }) => ({ arena, start: gradients, count })),
    options,
  )

/**
 * The total over the units of all ranks, in the order of the model.
 * @param unitCount Number of units of all ranks. @param sumOver Returns the sum of each value over ranks.
 */
export const totalOverRanks =
  (units: readonly Unit[], unitCount: number, sumOver: (own: Float64Array) => Promise<Float64Array>) =>
  async (sums: readonly number[]): Promise<number> => {
    const own = new Float64Array(unitCount)
    units.forEach(({ index }, i) => {
      own[index] = sums[i] as number
    })
    return (await sumOver(own)).reduce((total, squares) => total + squares, 0)
  }
