/**
 * Scratch memory for rows that are added to the gradient of a table after the program has run, in the arena of the
 * table.
 */
import type { ArenaRange } from '../../../engine/contract/arena.ts'
import type { RowScatter } from '../../../engine/contract/arena-kernels.ts'
import { paddedFloats } from './bank.ts'
import type { ParameterStore } from './store.ts'

/** Maximum number of uses of a table by row: reading embeddings or positions, and the targets of the cross-entropy. */
const MAX_USES = 3

/** Scratch memory, in floats, for the rows of a pass of `tokens`. */
export const rowScratch = (width: number, tokens: number): number =>
  MAX_USES * (paddedFloats(tokens * width) + paddedFloats(tokens))

interface RowPlace {
  readonly rows: ArenaRange
  /** The indices, as int32. */
  readonly indices: ArenaRange
  readonly scatter: RowScatter
}

/** Scratch memory that all programs of a training share. */
export class RowMemory {
  private readonly store: ParameterStore
  private readonly places = new Map<string, RowPlace>()

  constructor(store: ParameterStore) {
    this.store = store
  }

  of(table: string, use: number, rowCount: number, [tableRows = 0, width = 0]: readonly number[]): RowPlace {
    const key = `${use} of ${table}`
    const existing = this.places.get(key)
    if (existing) return existing
    const forRows = paddedFloats(rowCount * width)
    const { arena, gradient, scratch } = this.store.allocateScratch(table, forRows + paddedFloats(rowCount))
    const place: RowPlace = {
      rows: { arena, start: scratch, count: rowCount * width },
      indices: { arena, start: scratch + forRows, count: rowCount },
      scatter: { arena, table: gradient, tableRows, rows: scratch, indices: scratch + forRows, rowCount, width },
    }
    this.places.set(key, place)
    return place
  }
}
