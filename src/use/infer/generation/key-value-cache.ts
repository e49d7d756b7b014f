/**
 * Keys and values of the tokens so far: two tables per layer, with one row per position, [C·S, KV·d], the rows of one
 * context after the other.
 */
import { attentionColumns, type ModelConfig } from '../../../core/model/config.ts'
import { cacheName } from '../../../core/model/token/cache.ts'
import { type ArenaRange, readRange } from '../../../engine/contract/arena.ts'

/** The rows of a context. */
export interface CachedContext {
  /** Rows of the context, from a position on, in the table of a port; undefined for other ports. */
  rows(port: string, from: number, length: number): ArenaRange | undefined
  /** Copies the first `length` rows of another context of the same model into all tables. */
  copy(from: CachedContext, length: number): Promise<void>
}

export class KeyValueCache {
  readonly contexts: readonly CachedContext[]
  private readonly tables = new Map<string, ArenaRange>()

  /**
   * @param count Number of contexts.
   * @param allocate Allocates the tables.
   */
  constructor(config: ModelConfig, count: number, allocate: (floats: number) => ArenaRange) {
    const { layers, sequence } = config
    const width = attentionColumns(config).keys
    for (let layer = 0; layer < layers; layer++)
      for (const kind of ['keys', 'values'] as const)
        this.tables.set(cacheName(layer, kind), allocate(count * sequence * width))
    this.contexts = Array.from({ length: count }, (_, context): CachedContext => {
      const rows = (port: string, from: number, length: number) => {
        const table = this.table(port)
        return table && { ...table, start: table.start + (context * sequence + from) * width, count: length * width }
      }
      const copy = async (from: CachedContext, length: number) => {
        for (const name of this.tables.keys()) {
          const [source, target] = [from.rows(name, 0, length), rows(name, 0, length)] as [ArenaRange, ArenaRange]
          await target.arena.write(target.start, await readRange(source))
        }
      }
      return { rows, copy }
    })
  }

  /** The table of a port, before or after a token; undefined for other ports. */
  table(port: string): ArenaRange | undefined {
    return this.tables.get(port.replace(/\.next$/, ''))
  }
}
