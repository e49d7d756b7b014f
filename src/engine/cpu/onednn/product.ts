/** Descriptions of matrix products. Strides are in elements. */

/** A matrix in memory. Rows are `stride` elements apart, or columns if transposed. */
export interface MatrixLayout {
  readonly stride: number
  readonly transposed?: boolean
  /** Whether it is a prepared factor (`factorBytes`) instead of float32. */
  readonly prepared?: boolean
}

/**
 * c [m, n] = alpha · a [m, k] · b [k, n], plus c or another matrix.
 * A single row of aᵀ or a single column of c must have no gaps.
 */
export interface Product {
  readonly m: number
  readonly k: number
  readonly n: number
  readonly a: MatrixLayout
  readonly b: MatrixLayout
  /** Stride of the rows of c. */
  readonly c: number
  /** Whether c is bfloat16. */
  readonly half?: boolean
  readonly alpha?: number
  /** `c` adds the old values of c. A number adds a matrix at `addend` with this row stride. */
  readonly plus?: 'c' | number
  /**
   * c, without gaps, is exp(a·b − row), or (a·b − row) ∘ factor. The float32 row [n], one for each product of a batch, is
   * subtracted from every row. It and the factor [m, n], which is stored as c is, come after c.
   */
  readonly finish?: 'exp' | 'times'
}

/** A batch of products of equal shape. */
export interface Batch {
  readonly count: number
  /** Strides between matrices, in elements. */
  readonly a: number
  readonly b: number
  readonly c: number
}

/** A key that is equal for equal products. */
export const keyOf = ({ m, k, n, a, b, c, half, alpha = 1, plus, finish }: Product): string =>
  `${m},${k},${n},${layoutKey(a)},${layoutKey(b)},${c}${half ? 'h' : ''},${alpha},${plus},${finish}`

const layoutKey = ({ stride, transposed, prepared }: MatrixLayout): string =>
  `${stride}${transposed ? 't' : ''}${prepared ? 'p' : ''}`
