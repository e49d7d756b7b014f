/** The machine's other ceiling: how fast all threads together pass over memory. */
import { toOnnx } from '../graph/onnx.ts'
import { add } from '../graph/ops/elementwise.ts'
import { input } from '../graph/tensor.ts'
import type { Runtime } from '../runtime/contract.ts'

/** Bytes of an array: two of them are more than a cache holds. */
const DEFAULT_BYTES = 128 * 2 ** 20

/**
 * Bytes a second of x ← x + y, two arrays read and one written in place as an optimizer does: the best of
 * a few runs, after one to warm up.
 */
export async function measureBandwidth(runtime: Runtime, bytes = DEFAULT_BYTES, runs = 8): Promise<number> {
  const count = bytes / 4
  const sum = add(input('x', 'float32', [count]), input('y', 'float32', [count]))
  const executable = await runtime.compile(toOnnx({ outputs: { sum } }))
  const x = new Float32Array(count).fill(1)
  const binding = executable.bind({ x, y: new Float32Array(count).fill(1), sum: x })
  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run <= runs; run++) {
    const start = performance.now()
    await binding.run()
    if (run > 0) best = Math.min(best, performance.now() - start)
  }
  binding.release()
  executable.release()
  return (3 * bytes) / (best / 1000)
}
