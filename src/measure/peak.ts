/** Measures how fast the runtime multiplies large matrices. */
import { matmul } from '../graph/ops/matmul.ts'
import { input, withKernels } from '../graph/tensor.ts'
import type { Binding, Runtime } from '../runtime/contract.ts'

/** FLOP/s of a square matmul in the precision of the runtime. Best of `runs`, after one warm-up run. */
export async function measurePeakFlops(runtime: Runtime, size = 1024, runs = 5): Promise<number> {
  const seconds = await measureProduct(runtime, { count: 1, m: size, n: size, k: size }, runs)
  return (2 * size ** 3) / seconds
}

/** Seconds for `count` batched products of an m × k and a k × n matrix. Best of `runs`, after one warm-up run. */
export async function measureProduct(
  runtime: Runtime,
  { count, m, n, k }: { readonly count: number; readonly m: number; readonly n: number; readonly k: number },
  runs = 5,
): Promise<number> {
  const shaped = (...matrix: number[]) => (count === 1 ? matrix : [count, ...matrix])
  const product = withKernels(runtime.kernels, () =>
    matmul(input('a', 'float32', shaped(m, k)), input('b', 'float32', shaped(k, n))),
  )
  const executable = await runtime.compile({ outputs: { product } })
  const filled = (size: number) => new Float32Array(count * size).fill(1 / k)
  const seconds = await shortestRun(
    executable.bind({ a: filled(m * k), b: filled(k * n), product: filled(m * n) }),
    runs,
  )
  executable.release()
  return seconds
}

/** Seconds of the shortest of `runs`, after one warm-up run. Releases the binding. */
export async function shortestRun(binding: Binding, runs: number): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run <= runs; run++) {
    const start = performance.now()
    await binding.run()
    if (run > 0) best = Math.min(best, performance.now() - start)
  }
  binding.release()
  return best / 1000
}
