/**
 * Memory of AdamW's compact moments, the moments that are not float32.
 *
 *   bf16  the upper half of a float32
 *   int8  a byte: a code that is fine near zero and coarse near the bound of its block, as in Dettmers et al. 2022
 *         ("8-bit optimizers via block-wise quantization"); each block has a bound in float32
 *
 * The two moments of a number are side by side, and numbers are in blocks of {@link MOMENT_BLOCK}. Every unit
 * (`step/store/placement.ts`) begins with a block, so that bits do not depend on how units are spread over ranks. A
 * unit has the codes of its blocks, then the bounds: `int8` of 600 numbers has codes [3, 256, 2] and bounds [3, 2].
 */

export type CompactState = 'bf16' | 'int8'

/** Number of parameters in a block. */
export const MOMENT_BLOCK = 256

/** Size of a block's codes, in floats. */
const codeFloats = { bf16: MOMENT_BLOCK, int8: MOMENT_BLOCK / 2 }
/** Size of a cache line, at which every unit begins. */
const LINE_FLOATS = 16

/** Number of blocks in a unit of `count` parameters. */
export const momentBlocks = (count: number): number => Math.ceil(count / MOMENT_BLOCK)

/**
 * The layout of a unit: number of blocks, lengths of codes and bounds in floats, and the length of both with padding.
 */
export function momentLayout(state: CompactState, count: number) {
  const blocks = momentBlocks(count)
  const codes = blocks * codeFloats[state]
  const bounds = state === 'int8' ? 2 * blocks : 0
  return { blocks, codes, bounds, floats: Math.ceil((codes + bounds) / LINE_FLOATS) * LINE_FLOATS }
}
