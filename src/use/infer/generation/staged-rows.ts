/** Memory for the keys and values that the pass over a block of a prompt computes, until they are copied to pages. */
import { attentionColumns, type ModelConfig } from '../../../core/model/config.ts'
import { cacheName, nextCacheName } from '../../../core/model/kv-cache.ts'
import type { Arena, ArenaRange } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { paddedFloats } from '../../../train/step/store/bank.ts'
import { BLOCK } from './prompt-blocks.ts'

/** Tokens of the longest block. */
const longest = ({ sequence }: ModelConfig): number => Math.min(BLOCK, sequence)

const floatsOfTable = (config: ModelConfig): number => paddedFloats(longest(config) * attentionColumns(config).keys)

/** Bytes of the memory. */
export const stagedBytes = (config: ModelConfig): number => 4 * 2 * config.layers * floatsOfTable(config)

export class StagedRows {
  private readonly arena: Arena
  private readonly width: number
  private readonly longest: number
  /** Where the rows of a table begin, by the name of the table and by that of the output of a pass. */
  private readonly starts = new Map<string, number>()

  constructor(runtime: Pick<Runtime, 'createArena'>, config: ModelConfig) {
    this.arena = runtime.createArena(stagedBytes(config))
    this.width = attentionColumns(config).keys
    this.longest = longest(config)
    let start = 0
    for (let layer = 0; layer < config.layers; layer++)
      for (const kind of ['keys', 'values'] as const) {
        for (const name of [cacheName(layer, kind), nextCacheName(layer, kind)]) this.starts.set(name, start)
        start += floatsOfTable(config)
      }
  }

  /** The first rows of a table. */
  of(table: string, rows = this.longest): ArenaRange {
    const start = this.starts.get(table)
    if (start === undefined) throw new Error(`internal: ${table} is no table of keys or values`)
    return { arena: this.arena, start, count: rows * this.width }
  }

  release(): void {
    this.arena.release()
  }
}
