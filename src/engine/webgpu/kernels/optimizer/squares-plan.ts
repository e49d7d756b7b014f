/**
 * How sums of squares are divided into work for a device: ranges → blocks → windows.
 *
 * A workgroup adds the squares of a *block*, and then one workgroup for each range adds the sums of its blocks. Blocks
 * begin where their range begins, so the bits of a sum depend on the range alone: not on its place in an arena, nor on
 * the ranges that are computed with it. That is why the norm of all gradients has the same bits on any number of ranks.
 * A *window* is a part of an arena that one dispatch binds, with the blocks in it.
 */
import { type Arena, type ArenaRange, RANGE_START } from '../../../contract/arena.ts'
import { WORKGROUP } from '../contract.ts'

/** Number of vectors of a block that an invocation adds. */
const VECTORS = 8

export interface Window {
  readonly arena: Arena
  /** Place in the arena, in floats, from a multiple of {@link RANGE_START} on. */
  readonly start: number
  readonly count: number
  /** Number of floats of the vectors in which numbers are read. */
  readonly width: 1 | 4
  /** For each block: its place in the window and its length, in vectors, and the index of its sum. */
  readonly blocks: Int32Array
}

export interface SquaresPlan {
  readonly windows: readonly Window[]
  /** For each range: the index of the first sum of its blocks, and their number. */
  readonly ranges: Int32Array
  /** Number of blocks. */
  readonly sums: number
}

/** A block in its arena; `start` and `count` are in floats. */
interface Block extends ArenaRange {
  readonly width: 1 | 4
  readonly sum: number
}

/** @param most Number of floats that a dispatch can bind. */
export function planSquares(ranges: readonly ArenaRange[], most: number): SquaresPlan {
  const table: number[] = []
  const blocks: Block[] = []
  for (const { arena, start, count } of ranges) {
    const width = start % 4 === 0 && count % 4 === 0 ? 4 : 1
    const size = width * WORKGROUP * VECTORS
    table.push(blocks.length, Math.ceil(count / size))
    for (let from = 0; from < count; from += size)
      blocks.push({ arena, start: start + from, count: Math.min(size, count - from), width, sum: blocks.length })
  }
  return { windows: windowsOf(blocks, most), ranges: Int32Array.from(table), sums: blocks.length }
}

function windowsOf(blocks: readonly Block[], most: number): Window[] {
  const arenas = [...new Set(blocks.map(({ arena }) => arena))]
  const sorted = blocks.toSorted(
    (a, b) => arenas.indexOf(a.arena) - arenas.indexOf(b.arena) || a.width - b.width || a.start - b.start,
  )
  const groups: { readonly start: number; readonly blocks: Block[] }[] = []
  for (const block of sorted) {
    const group = groups.at(-1)
    const first = group?.blocks[0]
    const fits =
      group &&
      first?.arena === block.arena &&
      first.width === block.width &&
      block.start + block.count - group.start <= most
    if (fits) group.blocks.push(block)
    else groups.push({ start: block.start - (block.start % RANGE_START), blocks: [block] })
  }
  return groups.map(({ start, blocks }) => {
    const [{ arena, width }, last] = [blocks[0] as Block, blocks.at(-1) as Block]
    return {
      arena,
      start,
      count: last.start + last.count - start,
      width,
      blocks: Int32Array.from(
        blocks.flatMap((block) => [(block.start - start) / width, block.count / width, block.sum]),
      ),
    }
  })
}
