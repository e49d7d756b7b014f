/**
 * Where rows lie that ranks exchange for their experts, from their numbers by rank and expert
 * (`src/core/graph/ops/all-to-all.ts`).
 */
import type { JoinedSide } from '../../core/graph/kernels/rows.ts'
import { TooManyRows } from './runtime-error.ts'

/** Rows that go to a rank or come from it. */
export interface Segment {
  readonly start: number
  readonly count: number
}

/**
 * The segments of each rank of one side. The segments of a rank are sent and received in order.
 * @param counts Numbers of rows by rank and expert. @param joined The side whose rows lie by expert first.
 */
export const segmentsOf = (
  counts: readonly number[],
  ranks: number,
  joined: JoinedSide,
  side: 'sent' | 'received',
): Segment[][] => (joined === 'none' ? segmentsByRank(counts, ranks) : segmentsByExpert(counts, ranks, joined === side))

/** One segment for each rank, one after the other, from the numbers of rows by rank and expert. */
function segmentsByRank(counts: readonly number[], ranks: number): Segment[][] {
  const each = counts.length / ranks
  let start = 0
  return Array.from({ length: ranks }, (_, q) => {
    const count = counts.slice(q * each, (q + 1) * each).reduce((sum, rows) => sum + rows, 0)
    start += count
    return [{ start: start - count, count }]
  })
}

/**
 * A segment for each rank and expert. Segments lie by rank and within a rank by expert, or by expert and within an
 * expert by rank.
 */
function segmentsByExpert(counts: readonly number[], ranks: number, expertsFirst: boolean): Segment[][] {
  const each = counts.length / ranks
  const segments = Array.from({ length: ranks }, () => new Array<Segment>(each))
  const order = Array.from({ length: counts.length }, (_, i) =>
    expertsFirst ? { q: i % ranks, e: Math.floor(i / ranks) } : { q: Math.floor(i / each), e: i % each },
  )
  let start = 0
  for (const { q, e } of order) {
    const count = counts[q * each + e] as number
    ;(segments[q] as Segment[])[e] = { start, count }
    start += count
  }
  return segments
}

/**
 * The sizes of rows that arrive, with the number of unused rows at the end: by rank and expert, and by expert alone.
 * @throws TooManyRows if there is no room for them
 */
export function fittedSizes(
  counts: readonly number[],
  ranks: number,
  room: number,
): { readonly arriving: readonly number[]; readonly totals: readonly number[] } {
  const rows = counts.reduce((sum, count) => sum + count, 0)
  if (rows > room) throw new TooManyRows(rows, room)
  return { arriving: [...counts, room - rows], totals: [...sumsByExpert(counts, ranks), room - rows] }
}

/** Number of rows of each expert over all ranks, from the numbers by rank and expert. */
const sumsByExpert = (counts: readonly number[], ranks: number): number[] => {
  const each = counts.length / ranks
  return Array.from({ length: each }, (_, e) =>
    counts.reduce((sum, count, i) => (i % each === e ? sum + count : sum), 0),
  )
}
