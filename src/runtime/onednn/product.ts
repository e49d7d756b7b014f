/** Matrix products as they are asked for. Strides count elements of the matrix. */

/** A matrix in memory: rows `stride` elements apart; transposed: the columns are. */
export interface MatrixLayout {
  readonly stride: number
  readonly transposed?: boolean
  /** It is a prepared factor (`factorBytes`), not float32. */
  readonly prepared?: boolean
}

/**
 * c [m, n] = alpha · a [m, k] · b [k, n], then added to what is in c, or to another matrix.
 * A single row of aᵀ, or a single column of c, must have no gaps.
 */
export interface Product {
  readonly m: number
  readonly k: number
  readonly n: number
  readonly a: MatrixLayout
  readonly b: MatrixLayout
  /** Floats from a row of c to the next. */
  readonly c: number
  readonly alpha?: number
  /** `c`: c's old values are added. A number: a matrix with rows so far apart is, at `addend`. */
  readonly plus?: 'c' | number
}

/** Products of equal shape at once. */
export interface Batch {
  readonly count: number
  /** Elements from a matrix to the next. */
  readonly a: number
  readonly b: number
  readonly c: number
}

/** Equal for equal products. */
export const keyOf = ({ m, k, n, a, b, c, alpha = 1, plus }: Product): string =>
  `${m},${k},${n},${layoutKey(a)},${layoutKey(b)},${c},${alpha},${plus}`

const layoutKey = ({ stride, transposed, prepared }: MatrixLayout): string =>
  `${stride}${transposed ? 't' : ''}${prepared ? 'p' : ''}`
