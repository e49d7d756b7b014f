/**
 * Memory of AdamW's compact moments: those that are not float32.
 *
 *   bf16  the upper half of a float32
 *   int8  a byte: a code that is fine near zero and coarse near the bound of its block, as in Dettmers et al. 2022
 *         ("8-bit optimizers via block-wise quantization"); each block has a bound in float32
 *
 * The two moments of a number are side by side, and numbers are in blocks of {@link MOMENT_BLOCK}. Every unit
 * (`step/ranks/placement.ts`) begins with a block, so that bits do not depend on how units are spread over ranks. A unit
 * has the codes of its blocks, then the bounds: `int8` of 600 numbers has codes [3, 256, 2] and bounds [3, 2].
 */

export type CompactState = 'bf16' | 'int8'
export type MomentState = 'float32' | CompactState

/** Numbers of a block. */
export const MOMENT_BLOCK = 256

/** Floats of a block's codes. */
const codeFloats = { bf16: MOMENT_BLOCK, int8: MOMENT_BLOCK / 2 }
/** Units begin at cache lines. */
const LINE_FLOATS = 16

/** Blocks of a unit of `count` numbers. */
export const momentBlocks = (count: number): number => Math.ceil(count / MOMENT_BLOCK)

/** Codes and bounds of a unit: offsets and lengths in floats, and the length of both with padding. */
export function momentLayout(state: CompactState, count: number) {
  const blocks = momentBlocks(count)
  const codes = blocks * codeFloats[state]
  const bounds = state === 'int8' ? 2 * blocks : 0
  return { blocks, codes, bounds, floats: Math.ceil((codes + bounds) / LINE_FLOATS) * LINE_FLOATS }
}
