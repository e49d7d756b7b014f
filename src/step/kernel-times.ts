/**
 * The kernels beside the gradient program, in the terms of a model: the kernels count runs and time, and
 * how much a run does follows from the memory it passes over.
 */

import type { RowScatter } from '../runtime/arena-kernels.ts'
import type { NodeTime } from '../runtime/times.ts'
import type { ParameterStore } from './store.ts'

interface Work {
  readonly op: string
  readonly layer: string
  /** Of a run on average. */
  readonly flops?: number
  readonly bytes?: number
}

const update: Work = { op: 'update', layer: 'optimizer' }

/** @param scatters Additions of rows in a step. */
export function kernelTimes(
  times: readonly NodeTime[],
  store: ParameterStore,
  scatters: readonly RowScatter[],
): NodeTime[] {
  const elements = store.ranges().reduce((sum, { count }) => sum + count, 0)
  const added = scatters.reduce((sum, { rowCount, width }) => sum + rowCount * width, 0) / scatters.length
  const works: Readonly<Record<string, Work>> = {
    // p, g, m and v are read; p, m and v are written.
    adamw: { ...update, flops: 14 * elements, bytes: 28 * elements },
    sumOfSquares: { op: 'gradient norm', layer: 'optimizer', flops: 2 * elements, bytes: 4 * elements },
    // Rows are read, and the table's read and written.
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

/** What came after `before`, of times that only grow. */
export function timesSince(before: readonly NodeTime[], times: readonly NodeTime[]): NodeTime[] {
  const old = new Map(before.map((time) => [time.kind, time]))
  return times
    .map((time) => {
      const { runs = 0, microseconds = 0 } = old.get(time.kind) ?? {}
      return { ...time, runs: time.runs - runs, microseconds: time.microseconds - microseconds }
    })
    .filter(({ runs }) => runs > 0)
}
