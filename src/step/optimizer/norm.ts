/**
 * The global gradient norm: the root of the sum of squares of all gradients. Each tensor, or expert of a stacked one,
 * has a sum of its own, so that the bits do not depend on how tensors are spread over ranks.
 */
import type { ArenaKernels } from '../../runtime/arena-kernels.ts'
import type { ParameterStore } from '../store.ts'

/**
 * Not finite if and only if some gradient is not.
 * @param sum The sum of values over ranks; default: there is one.
 */
export async function gradientNorm(
  kernels: ArenaKernels,
  store: ParameterStore,
  sum: (own: Float64Array) => Promise<Float64Array> = async (own) => own,
): Promise<number> {
  const units = store.units()
  const sums = await kernels.sumsOfSquares(
    units.map(({ arena, gradients, count }) => ({ arena, start: gradients, count })),
  )
  const all = new Float64Array(store.unitCount)
  units.forEach(({ index }, i) => {
    all[index] = sums[i] as number
  })
  return Math.sqrt((await sum(all)).reduce((total, squares) => total + squares, 0))
}
