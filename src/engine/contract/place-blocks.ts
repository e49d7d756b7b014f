/**
 * Places blocks in one memory. Blocks that are never live at the same time may share it: the largest are placed first,
 * each at the lowest offset that is free during its life.
 */
export interface Block {
  readonly bytes: number
  /** The first and the last step at which the block is live. */
  readonly first: number
  readonly last: number
}

/** The offset of each block, and the size of the memory. Sizes of blocks must be multiples of the alignment. */
export function placeBlocks(blocks: readonly Block[]): {
  readonly offsets: ReadonlyMap<Block, number>
  readonly bytes: number
} {
  const offsets = new Map<Block, number>()
  const placed: { block: Block; offset: number }[] = []
  let bytes = 0
  for (const block of blocks.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    let offset = 0
    for (const other of placed) {
      const overlap = other.block.first <= block.last && block.first <= other.block.last
      if (!overlap) continue
      if (other.offset >= offset + block.bytes) break
      offset = Math.max(offset, other.offset + other.block.bytes)
    }
    offsets.set(block, offset)
    placed.push({ block, offset })
    placed.sort((a, b) => a.offset - b.offset)
    bytes = Math.max(bytes, offset + block.bytes)
  }
  return { offsets, bytes }
}
