/**
 * Keys and values of the tokens so far: two tables per layer, with one row per position, [S, KV·d]. A
 * program for fewer positions reads the first rows of the same memory.
 */
import { attentionColumns, type ModelConfig } from '../../../core/model/config.ts'
import { cacheName } from '../../../core/model/token/cache.ts'
import type { ArenaRange } from '../../../engine/contract/arena.ts'

export class KeyValueCache {
  private readonly tables = new Map<string, ArenaRange>()
  private readonly width: number

  /** @param allocate Allocates the tables. */
  constructor(config: ModelConfig, allocate: (floats: number) => ArenaRange) {
    const { layers, sequence } = config
    this.width = attentionColumns(config).keys
    for (let layer = 0; layer < layers; layer++)
      for (const kind of ['keys', 'values'] as const)
        this.tables.set(cacheName(layer, kind), allocate(sequence * this.width))
  }

  /** The first `length` rows of the table of a port; undefined for other ports. */
  rows(port: string, length: number): ArenaRange | undefined {
    const table = this.tables.get(port.replace(/\.next$/, ''))
    return table && { ...table, count: length * this.width }
  }
}
