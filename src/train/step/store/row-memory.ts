/**
 * Scratch memory for rows that are added to the gradient of a table after the program has run, in the arena of the
 * table.
 */
import type { Shape } from '../../../core/graph/model.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { ownWork } from '../../../core/model/own-work.ts'
import type { ArenaRange } from '../../../engine/contract/arena.ts'
import type { RowScatter } from '../../../engine/contract/arena-kernels.ts'
import { paddedFloats } from './bank.ts'
import type { ParameterStore } from './store.ts'

/** Number of lookups in the built-in tables at most: of embeddings, positions, and the targets of the cross-entropy. */
const LOOKUPS = 3

/** Scratch memory, in floats, for a pass of so many sequences. */
export function rowScratch(config: ModelConfig, sequences: number): number {
  const builtIn = { rows: sequences * config.sequence, width: config.width }
  const lookups = [...Array.from({ length: LOOKUPS }, () => builtIn), ...ownWork(config, sequences).lookups]
  return lookups.reduce((total, { rows, width }) => total + paddedFloats(rows * width) + paddedFloats(rows), 0)
}

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

  /** @param shape Shape of the table: its first dimension are the rows. */
  of(table: string, use: number, rowCount: number, [tableRows = 0, ...row]: Shape): RowPlace {
    const key = `${use} of ${table}`
    const existing = this.places.get(key)
    if (existing) return existing
    const width = sizeOf(row)
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
