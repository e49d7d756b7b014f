/** Measures how fast the runtime multiplies large matrices. */
import { matmul } from '../../core/graph/ops/matmul.ts'
import { input, withKernels } from '../../core/graph/tensor.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { secondsOfRun } from './repeated-runs.ts'

/** Sizes of the square matrices, and number of measurements of each product, the best of which counts. */
export interface PeakOptions {
  /** Size on the CPU. */
  readonly size?: number
  /** Largest size on a device. */
  readonly deviceSize?: number
  readonly runs?: number
}

/** FLOP/s of a square matmul in the precision of the runtime. */
export async function measurePeakFlops(
  runtime: Runtime,
  { size = 1024, deviceSize = 2048, runs = 5 }: PeakOptions = {},
): Promise<number> {
  const rateOf = async (size: number) =>
    (2 * size ** 3) / (await measureProduct(runtime, { count: 1, m: size, n: size, k: size }, runs))
  return runtime.defers ? rateOfDevice(rateOf, deviceSize) : rateOf(size)
}

const MIN_SIZE = 256

/** Time of a product that is large enough for any device, seconds. */
const LONG = 0.1

/**
 * The best rate of a device whose speed is unknown. Larger products fill a device better, but on a slow device they
 * would take minutes. So the rate at one size determines the next size, until it grows no more.
 */
async function rateOfDevice(rateOf: (size: number) => Promise<number>, largest: number): Promise<number> {
  let best = 0
  for (let size = MIN_SIZE, last = 0; size > last; ) {
    best = Math.max(best, await rateOf(size))
    last = size
    size = Math.min(largest, 2 ** Math.floor(Math.log2(Math.cbrt((LONG * best) / 2))))
  }
  return best
}

/** Seconds for `count` batched products of an m × k and a k × n matrix, in the best of `runs` after one warm-up run. */
export function measureProduct(
  runtime: Runtime,
  { count, m, n, k }: { readonly count: number; readonly m: number; readonly n: number; readonly k: number },
  runs = 5,
): Promise<number> {
  const shaped = (...matrix: number[]) => (count === 1 ? matrix : [count, ...matrix])
  const product = withKernels(runtime.kernels, () =>
    matmul(input('a', 'float32', shaped(m, k)), input('b', 'float32', shaped(k, n))),
  )
  return secondsOfRun(runtime, { outputs: { product } }, runs)
}
