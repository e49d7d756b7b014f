/** Measures the memory bandwidth of all threads together. */
import { add } from '../graph/ops/elementwise.ts'
import { input } from '../graph/tensor.ts'
import type { Runtime } from '../runtime/contract.ts'
import { shortestRun } from './peak.ts'

/** Bytes per array; two arrays must not fit into the cache. */
const DEFAULT_BYTES = 128 * 2 ** 20

/**
 * Bytes per second of x ← x + y, which reads two arrays and writes one in place, like an optimizer. Best of
 * `runs`, after one warm-up run.
 */
export async function measureBandwidth(runtime: Runtime, bytes = DEFAULT_BYTES, runs = 8): Promise<number> {
  const count = bytes / 4
  const sum = add(input('x', 'float32', [count]), input('y', 'float32', [count]))
  const executable = await runtime.compile({ outputs: { sum } })
  const x = new Float32Array(count).fill(1)
  const seconds = await shortestRun(executable.bind({ x, y: new Float32Array(count).fill(1), sum: x }), runs)
  executable.release()
  return (3 * bytes) / seconds
}
