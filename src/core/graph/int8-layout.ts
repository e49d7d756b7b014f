/**
 * The layout of a matrix w [K, N] whose weights are int8, for products x·w. Weights of a column are in groups of
 * {@link GROUP} along K that share a scale: w = scale·q with q from −127 to 127. The scale is a bfloat16, rounded up,
 * so that it takes two bytes: 8.25 bits a weight.
 *
 * Columns are in blocks of {@link BLOCK}, and a product reads a block from its first byte to its last:
 *
 *     block of 16 columns: [K / 64 groups] of
 *       [32 pairs of rows][16 columns][2 rows] int8 · 1,024 bytes
 *       [16 columns] bfloat16 scales             ·    32 bytes
 *
 * K and N are padded with zeros to whole groups and blocks.
 */

/** Rows that share a scale. */
export const GROUP = 64
/** Columns of a block. */
export const BLOCK = 16
/** Bytes of one group in a block: weights, then scales. */
export const GROUP_BYTES = GROUP * BLOCK + 2 * BLOCK

export const groupsOf = (inner: number): number => Math.ceil(inner / GROUP)
export const blocksOf = (columns: number): number => Math.ceil(columns / BLOCK)
/** Bytes of a matrix [inner, columns]. */
export const int8Bytes = (inner: number, columns: number): number => blocksOf(columns) * groupsOf(inner) * GROUP_BYTES
