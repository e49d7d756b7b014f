/**
 * Keys and values of the tokens of texts: two tables per layer [N·P, KV·d] of N pages, each with the rows of P positions of
 * a text. A text has any of the pages, in any order.
 */
import { attentionColumns, type ModelConfig } from '../../../core/model/config.ts'
import { cacheName, pageOf } from '../../../core/model/kv-cache.ts'
import { type ArenaRange, copyRange } from '../../../engine/contract/arena.ts'

export class KeyValueCache {
  /** Number of pages, N. */
  readonly pages: number
  private readonly page: number
  private readonly width: number
  private readonly tables = new Map<string, ArenaRange>()

  /** @param allocate Allocates the tables. */
  constructor(config: ModelConfig, pages: number, allocate: (floats: number) => ArenaRange) {
    this.pages = pages
    this.page = pageOf(config)
    this.width = attentionColumns(config).keys
    for (let layer = 0; layer < config.layers; layer++)
      for (const kind of ['keys', 'values'] as const)
        this.tables.set(cacheName(layer, kind), allocate(this.rows * this.width))
  }

  /** Rows of a table, N·P. */
  get rows(): number {
    return this.pages * this.page
  }

  /** The table of a port, before or after a token; undefined for other ports. */
  table(port: string): ArenaRange | undefined {
    return this.tables.get(port.replace(/\.next$/, ''))
  }

  /** The row of a position of a text with some pages. */
  rowOf(pages: readonly number[], position: number): number {
    const page = pages[Math.floor(position / this.page)]
    if (page === undefined) throw new Error(`internal: position ${position} of a text with ${pages.length} pages`)
    return page * this.page + (position % this.page)
  }

  /**
   * Copies rows to `count` positions of a text from `from` on.
   * @param rowsOf The rows of these positions for a table, by its name.
   */
  async write(
    pages: readonly number[],
    from: number,
    count: number,
    rowsOf: (table: string) => ArenaRange,
  ): Promise<void> {
    for (const [name, table] of this.tables) {
      const rows = rowsOf(name)
      for (let at = from; at < from + count; ) {
        const length = Math.min(from + count - at, this.page - (at % this.page))
        const source = { ...rows, start: rows.start + (at - from) * this.width, count: length * this.width }
        await copyRange(source, table.arena, table.start + this.rowOf(pages, at) * this.width)
        at += length
      }
    }
  }

  /** Copies the first `rows` rows of a page to another. */
  async copy(from: number, to: number, rows: number): Promise<void> {
    const start = (page: number) => page * this.page * this.width
    for (const table of this.tables.values()) {
      const source = { ...table, start: table.start + start(from), count: rows * this.width }
      await copyRange(source, table.arena, table.start + start(to))
    }
  }
}
