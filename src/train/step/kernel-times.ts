/**
 * Times of the arena kernels that run outside the gradient program, with op, layer, operations and bytes. The kernels
 * count runs and time; the work of a run follows from the memory that it passes over.
 */
import type { RowScatter } from '../../engine/contract/arena-kernels.ts'
import type { NodeTime } from '../../engine/contract/times.ts'
import type { ParameterStore } from './store/store.ts'

interface Work {
  readonly op: string
  readonly layer: string
  /** Mean number of operations per run. */
  readonly flops?: number
  readonly bytes?: number
}

const update: Work = { op: 'update', layer: 'optimizer' }

/** @param scatters Row additions of a step. */
export function kernelTimes(
  times: readonly NodeTime[],
  store: ParameterStore,
  scatters: readonly RowScatter[],
): NodeTime[] {
  const elements = store.trainedShares().reduce((sum, { floats }) => sum + floats, 0)
  const added = scatters.reduce((sum, { rowCount, width }) => sum + rowCount * width, 0) / scatters.length
  const works: Readonly<Record<string, Work>> = {
    // p, g, m and v are read; p, m and v are written.
    adamw: { ...update, flops: 14 * elements, bytes: 28 * elements },
    // m and v are codes of 16 bits, or of 8 with a bound for 256 numbers.
    adamwBf16: { ...update, flops: 14 * elements, bytes: 20 * elements },
    adamwInt8: { ...update, flops: 14 * elements, bytes: 16 * elements },
    sumOfSquares: { op: 'gradient norm', layer: 'optimizer', flops: 2 * elements, bytes: 4 * elements },
    // The added rows are read; the table's rows are read and written.
    scatterAddRows: { op: 'add rows', layer: 'embedding', flops: added, bytes: 12 * added },
  }
  return times.map((time) => {
    const { op, layer, flops, bytes } = works[time.kind] ?? update
    return {
      ...time,
      op,
      layer,
      ...(flops !== undefined && { flops: flops * time.runs }),
      ...(bytes !== undefined && { bytes: bytes * time.runs }),
    }
  })
}

/** The increase of cumulative times since `before`. */
export function timesSince(before: readonly NodeTime[], times: readonly NodeTime[]): NodeTime[] {
  const old = new Map(before.map((time) => [time.kind, time]))
  return times
    .map((time) => {
      const { runs = 0, microseconds = 0 } = old.get(time.kind) ?? {}
      return { ...time, runs: time.runs - runs, microseconds: time.microseconds - microseconds }
    })
    .filter(({ runs }) => runs > 0)
}
