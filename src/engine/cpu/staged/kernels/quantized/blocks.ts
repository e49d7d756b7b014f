/** Blocks of columns of quantized matrices. */
import { type Bits, BLOCK, blocksOf, groupBytes, groupsOf } from '../../../../../core/graph/quantized-layout.ts'
import { bandsOf } from '../matmul.ts'

/** Whole blocks of columns, which a task computes. */
export interface Band {
  readonly from: number
  readonly columns: number
  readonly blocks: number
}

export const bandsIn = (columns: number, threads: number): Band[] =>
  bandsOf(blocksOf(columns), threads, 1).map(({ from, length }) => ({
    from: from * BLOCK,
    columns: Math.min(columns, (from + length) * BLOCK) - from * BLOCK,
    blocks: length,
  }))

/** Bytes of a block of columns. */
export const blockBytes = (bits: Bits, inner: number): number => groupsOf(bits, inner) * groupBytes(bits)
