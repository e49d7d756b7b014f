/**
 * Which snapshots a shared page has: all, or every second, fourth, ..., so that the file stays small, and in any case
 * those at which a moment begins, to which its button jumps.
 */

import { constants, deflateSync } from 'node:zlib'
import type { RoutingIndex } from '../api.ts'
import type { WatchedRun } from '../runs/run.ts'

/** Most snapshots: playing them takes some seconds, and they are as wide as a heat map. */
const MAX_SNAPSHOTS = 600
/** Most characters of packed loads: less than half of a file of 2 MB. */
const MAX_CHARACTERS = 900_000

interface ChosenSnapshots {
  /** Indices of the snapshots in the run. */
  readonly indices: readonly number[]
  readonly packed: string
}

/** @param wanted Steps that must be among the chosen snapshots */
export function chooseSnapshots(
  run: Pick<WatchedRun, 'loads'>,
  index: RoutingIndex,
  wanted: readonly number[],
): ChosenSnapshots {
  const must = new Set(wanted)
  const last = index.steps.length - 1
  for (let stride = 1; ; stride *= 2) {
    const indices = index.steps.flatMap((step, i) => (i % stride === 0 || i === last || must.has(step) ? [i] : []))
    if (indices.length > MAX_SNAPSHOTS && stride <= last) continue
    const packed = packLoads(gathered(run, index, indices))
    if (packed.length <= MAX_CHARACTERS || stride > last) return { indices, packed }
  }
}

function gathered(
  run: Pick<WatchedRun, 'loads'>,
  { routers, experts }: RoutingIndex,
  indices: readonly number[],
): Float32Array {
  const size = routers.length * 2 * experts
  const loads = new Float32Array(indices.length * size)
  for (const [at, index] of indices.entries()) loads.set(run.loads(index, index + 1), at * size)
  return loads
}

/**
 * @param loads Counts, which are whole numbers. Their four bytes are apart, all lowest bytes first, since most of the
 * others are 0.
 */
export function packLoads(loads: Float32Array): string {
  const bytes = new Uint8Array(4 * loads.length)
  loads.forEach((count, i) => {
    for (let byte = 0; byte < 4; byte++) bytes[byte * loads.length + i] = (count / 2 ** (8 * byte)) & 255
  })
  return deflateSync(bytes, { level: constants.Z_BEST_COMPRESSION }).toString('base64')
}
