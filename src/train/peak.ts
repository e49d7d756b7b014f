/** The machine's own ceiling: how fast the runtime multiplies large matrices. */
import { cut, input, matmul, toOnnx, usesKernels, withKernels } from '../graph/index.ts'
import type { Runtime } from '../runtime/index.ts'

/** FLOP/s of a square matmul in the precision of the runtime: the best of a few runs, after one to warm up. */
export async function measurePeakFlops(runtime: Runtime, size = 1024, runs = 5): Promise<number> {
  const shape = [size, size]
  const product = withKernels(runtime.kernels, () => matmul(input('a', 'float32', shape), input('b', 'float32', shape)))
  const program = { outputs: { product } }
  const executable = await runtime.compile(usesKernels(program) ? cut(program) : toOnnx(program))
  const matrix = () => new Float32Array(size * size).fill(1 / size)
  const binding = executable.bind({ a: matrix(), b: matrix(), product: matrix() })
  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run <= runs; run++) {
    const start = performance.now()
    await binding.run()
    if (run > 0) best = Math.min(best, performance.now() - start)
  }
  binding.release()
  executable.release()
  return (2 * size ** 3) / (best / 1000)
}
