/**
 * The layout of a matrix w [K, N] of quantized weights, for products x·w. Weights of a column are in groups along K that
 * share a scale: w = scale·q. The scale is a bfloat16, which takes two bytes. With 16 bits a weight is a bfloat16 itself.
 *
 * | bits | group | q | bits of a weight with its scale |
 * |---|---|---|---|
 * | 16 | 32 rows, without a scale | | 16 |
 * | 8 | 64 rows | −127 to 127 | 8.25 |
 * | 4 | 32 rows | −8 to 7 | 4.5 |
 *
 * Columns are in blocks of {@link BLOCK}, and a product reads a block from its first byte to its last:
 *
 *     block of 16 columns, 16 bits: [K / 32 groups] of
 *       [32 rows][16 columns] bfloat16           · 1,024 bytes
 *
 *     block of 16 columns, 8 bits: [K / 64 groups] of
 *       [32 pairs of rows][16 columns][2 rows] int8 · 1,024 bytes
 *       [16 columns] bfloat16 scales             ·    32 bytes
 *
 *     block of 16 columns, 4 bits: [K / 32 groups] of
 *       [16 pairs of rows][4 columns][2 rows] uint16 ·  256 bytes
 *       [16 columns] bfloat16 scales                 ·   32 bytes
 *
 * A uint16 has four weights q + 8, of its row in the columns c, 4 + c, 8 + c and 12 + c from its lowest bits up: the
 * same shift and mask of all numbers give four columns, in the order in which 8 bits have them.
 *
 * K and N are padded with zeros to whole groups and blocks.
 */

/** Bits of a quantized weight. */
export type Bits = 16 | 8 | 4

/** Columns of a block. */
export const BLOCK = 16

/** Rows that share a scale, or to whose multiple K is padded. */
export const groupRows = (bits: Bits): number => (bits === 8 ? 64 : 32)
/** Bytes of the weights of one group in a block; its scales follow, if it has some. */
export const weightBytes = (bits: Bits): number => (groupRows(bits) * BLOCK * bits) / 8
/** Bytes of one group in a block: weights, then scales. */
export const groupBytes = (bits: Bits): number => weightBytes(bits) + (bits === 16 ? 0 : 2 * BLOCK)

export const groupsOf = (bits: Bits, inner: number): number => Math.ceil(inner / groupRows(bits))
export const blocksOf = (columns: number): number => Math.ceil(columns / BLOCK)
/** Bytes of a matrix [inner, columns]. */
export const quantizedBytes = (bits: Bits, inner: number, columns: number): number =>
  blocksOf(columns) * groupsOf(bits, inner) * groupBytes(bits)
