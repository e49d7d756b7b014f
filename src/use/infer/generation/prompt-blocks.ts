/**
 * How a prompt is cut into blocks, which are read one after the other: block j has the positions j·B to (j + 1)·B − 1.
 *
 * The program of a block depends on its position and its number of tokens only. So the keys and values of a full block
 * have the same bits in every prompt that begins with the same tokens, and are computed once for all of them.
 */
/**
 * Tokens of a block, B. A block reads the weights of all experts that its tokens choose, so smaller blocks take more time:
 * at the shape M, 1,100 tokens of float32 take 1.2 times as long as in a single pass with blocks of 512, and 2.0 times
 * with 256 (docs/serve.md).
 */
export const BLOCK = 512

/** Fewest tokens of a program; a shorter block is padded. */
const MIN_LENGTH = 32

/** A part of a prompt, and the size of its program. */
export interface PromptBlock {
  /** Position of its first token. */
  readonly from: number
  /** Number of its tokens, at most B. */
  readonly count: number
  /** Number of tokens of the program: the block is padded to it. */
  readonly tokens: number
  /** Rows of earlier positions that the program reads: at least `from`, and 0 only if there are none. */
  readonly past: number
}

/** Tokens of a program for `count` tokens of at most `most`: a power of two, or `most`. */
export function paddedLength(count: number, most: number): number {
  let length = MIN_LENGTH
  while (length < count) length *= 2
  return Math.min(length, most)
}

/**
 * The blocks of a prompt from position `from` on, a multiple of B. A program serves several positions: it reads B, 4·B,
 * 16·B, ... earlier rows, at most as many as the last block has in the context.
 */
export function blocksOf(length: number, from: number, sequence: number, block: number): PromptBlock[] {
  const longest = Math.floor((sequence - 1) / block) * block
  const blocks: PromptBlock[] = []
  let past = 0
  for (let at = 0; at < length; at += block) {
    if (past < at) past = Math.min(longest, past === 0 ? block : 4 * past)
    const count = Math.min(block, length - at)
    const tokens = paddedLength(count, Math.min(block, sequence - at))
    if (at >= from) blocks.push({ from: at, count, tokens, past })
  }
  return blocks
}

/** Number of tokens in the full blocks that two prompts have in common. */
export function commonBlocks(a: readonly number[], b: readonly number[], block: number): number {
  const length = Math.min(a.length, b.length)
  let same = 0
  while (same < length && a[same] === b[same]) same++
  return same - (same % block)
}
