/** Measures the memory bandwidth of all threads together. */
import { add, negate } from '../../core/graph/ops/elementwise.ts'
import { input } from '../../core/graph/tensor.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { secondsOfRun } from './repeated-runs.ts'

/** Bytes per array; two arrays must not fit into the cache. */
const DEFAULT_BYTES = 128 * 2 ** 20

/** The kinds of traffic: `update` is x ← x + y, in place, like an optimizer; `copy` is y ← −x. */
export type Traffic = 'update' | 'copy'

/** Number of arrays that each kind of traffic reads and writes. */
const arraysOf: Readonly<Record<Traffic, number>> = { update: 3, copy: 2 }

/** Bytes read and written per second, in the best of `runs` after one warm-up run. */
export async function measureBandwidth(
  runtime: Runtime,
  { traffic = 'update', bytes = DEFAULT_BYTES, runs = 8 }: { traffic?: Traffic; bytes?: number; runs?: number } = {},
): Promise<number> {
  const array = (name: string) => input(name, 'float32', [bytes / 4])
  const seconds =
    traffic === 'update'
      ? await secondsOfRun(runtime, { outputs: { sum: add(array('x'), array('y')) } }, runs, { sum: 'x' })
      : await secondsOfRun(runtime, { outputs: { y: negate(array('x')) } }, runs)
  return (arraysOf[traffic] * bytes) / seconds
}
