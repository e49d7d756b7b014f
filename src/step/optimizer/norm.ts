/** The global gradient norm: the root of the sum of squares of all gradients. */
import type { ArenaKernels } from '../../runtime/arena-kernels.ts'
import type { ParameterStore } from '../store.ts'

/** Not finite if and only if some gradient is not. */
export async function gradientNorm(kernels: ArenaKernels, store: ParameterStore): Promise<number> {
  const ranges = store.ranges().map(({ arena, gradients, count }) => ({ arena, start: gradients, count }))
  return Math.sqrt(await kernels.sumOfSquares(ranges))
}
