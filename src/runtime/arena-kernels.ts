/**
 * The contract of arena kernels: work on flat ranges of arenas that knows no graph and no layers. Optimizers, the
 * gradient norm and the rows that an embedding's gradient adds up are one pass over memory here, and several as
 * a graph.
 *
 * A result is bitwise the same for any number of threads.
 */
import type { Arena } from './arena.ts'
import type { NodeTime } from './times.ts'

/** `count` elements of an arena from `start`, counted in floats. */
export interface ArenaRange {
  readonly arena: Arena
  readonly start: number
  readonly count: number
}

/** Parameters, gradients and moments in one arena: where each starts, and how many there are, in floats. */
export interface AdamwRange {
  readonly arena: Arena
  readonly p: number
  readonly g: number
  readonly m: number
  readonly v: number
  readonly count: number
  /** 1 − learning rate · weight decay. */
  readonly keep: number
}

/** Coefficients of m ← β₁m + first·g, v ← β₂v + second·g², p ← keep·p − size·m / (correction·√v + ε). */
export interface AdamwSettings {
  readonly first: number
  readonly second: number
  readonly beta1: number
  readonly beta2: number
  readonly size: number
  readonly correction: number
  readonly epsilon: number
}

/** Tensors that lie one after the other, each updated by Adafactor on its own. Offsets count in floats. */
export interface AdafactorRange {
  readonly arena: Arena
  readonly p: number
  readonly g: number
  /**
   * For each tensor in turn {@link adafactorStateSize} floats, zero before the first update. Of a matrix: mean
   * squares of the rows, then of the columns, then memory for the kernel. Of a vector: its second moment.
   */
  readonly state: number
  /** Tensors. */
  readonly count: number
  /** null = vectors of `columns` elements. */
  readonly rows: number | null
  readonly columns: number
  /** 1 − learning rate · weight decay. */
  readonly keep: number
}

export interface AdafactorSettings {
  /** The gradient is multiplied by it. */
  readonly scale: number
  /** Decay of the second moment, β₂. */
  readonly beta: number
  readonly rate: number
}

/** table[indices[r]] += rows[r]. Offsets count in floats; all arrays lie in one arena. */
export interface RowScatter {
  readonly arena: Arena
  /** [tableRows, width]. */
  readonly table: number
  readonly tableRows: number
  /** [rowCount, width]. */
  readonly rows: number
  /** [rowCount], int32; a row may come several times. */
  readonly indices: number
  readonly rowCount: number
  readonly width: number
}

/** Created by `Runtime.createArenaKernels`. */
export interface ArenaKernels {
  readonly threads: number
  /** AdamW in place, in float32. */
  adamw(ranges: readonly AdamwRange[], settings: AdamwSettings): Promise<void>
  /** Adafactor in place, in float32 (Shazeer and Stern 2018, algorithms 4 and 5, without momentum). */
  adafactor(ranges: readonly AdafactorRange[], settings: AdafactorSettings): Promise<void>
  /** In float64, relative error below 1e-10 for 4 GiB; not finite exactly when some element is not. */
  sumOfSquares(ranges: readonly ArenaRange[]): Promise<number>
  /** Adds rows to rows of a table, in float32, in the order of the rows. */
  scatterAddRows(scatter: RowScatter): Promise<void>
  /** Time of each kernel since creation. */
  profile(): readonly NodeTime[]
  /** Waits for kernels that run, and ends the threads. Idempotent. */
  close(): Promise<void>
}

/** Floats of state of a tensor. */
export function adafactorStateSize(rows: number | null, columns: number): number {
  return rows === null ? columns : 2 * rows + (1 + Math.ceil(rows / blockRows(rows, columns))) * columns
}

/** Floats in a block of rows, about, and blocks of a matrix, at most. */
export const ADAFACTOR_BLOCK = 2 ** 20
const MAX_BLOCKS = 64

/** Rows of a block. It depends on the matrix alone, and so do the bits of an update. */
export function blockRows(rows: number, columns: number): number {
  return Math.ceil(rows / Math.min(MAX_BLOCKS, Math.ceil((rows * columns) / ADAFACTOR_BLOCK)))
}
