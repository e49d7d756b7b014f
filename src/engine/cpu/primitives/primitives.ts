/**
 * Primitives: the matrix products, activations and softmaxes that op kernels are made of, on the calling thread and on
 * memory given by addresses. Two libraries provide them: oneDNN (`onednn/dnnl.ts`), which a machine may have, and the
 * kernels of ONNX Runtime (`mlas/mlas.ts`), which every installation has.
 *
 * A primitive has fixed shapes; its memory is passed at each run. Primitives are created on first use and cached by
 * shape. A run has an overhead of about a microsecond, so callers may cut work finely. Strides are in elements.
 */

/** A matrix in memory. Rows are `stride` elements apart, or columns if transposed. */
export interface MatrixLayout {
  readonly stride: number
  readonly transposed?: boolean
  /** Whether the matrix is a prepared factor (`factorBytes`) instead of float32. */
  readonly prepared?: boolean
}

/** Columns of a stripe of a packed matrix. */
export const STRIPE = 64

/** Bytes of a packed matrix [k, n] (`Primitives.productOfPacked`). */
export const packedBytes = (k: number, n: number): number => 2 * packedRows(k) * STRIPE * Math.ceil(n / STRIPE)

/** Rows of a packed matrix with its padding. */
export const packedRows = (k: number): number => 32 * Math.ceil(k / 32)

/**
 * The matrix product c [m, n] = alpha · a [m, k] · b [k, n], plus c or another matrix.
 * A single row of aᵀ or a single column of c must have no gaps.
 */
export interface Product {
  readonly m: number
  readonly k: number
  readonly n: number
  readonly a: MatrixLayout
  readonly b: MatrixLayout
  /** Stride of the rows of c. Only oneDNN writes rows with gaps (`Primitives.stridedResults`). */
  readonly c: number
  /** Whether c is bfloat16. */
  readonly half?: boolean
  readonly alpha?: number
  /** `c` adds the old values of c. A number adds a matrix at `addend` with this row stride. */
  readonly plus?: 'c' | number
  /**
   * The function that finishes the product: c, without gaps, is exp(a·b − row), or (a·b − row) ∘ factor. The float32
   * row [n], one for each product of a batch, is subtracted from every row. The addresses of the row and of the factor
   * [m, n], which is stored like c, follow the address of c.
   */
  readonly finish?: 'exp' | 'times'
}

/** A product of a packed matrix. `c` is the stride of the rows of the result. */
export type PackedProduct = Pick<Product, 'm' | 'k' | 'n' | 'c' | 'alpha'>

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

/** An operation of fixed shape. Do not keep it: the cache destroys operations that have not been used for long. */
export interface Runnable {
  /** Time of the last use, as a count of requests. */
  used: number
  /** Runs the operation on the addresses of its operands, in their order. */
  run(...addresses: number[]): void
  destroy(): void
}

export type Activation = 'gelu' | 'swish'
/** How floats are stored: a factor of a product may be bfloat16 with bf16 math. */
export type FactorType = 'float32' | 'bfloat16'

export interface Primitives {
  /**
   * Whether a softmax is slow if a number is 87 or more below the largest: its exponential is then subnormal, and
   * x86 computes slowly with such numbers.
   */
  readonly slowFarBelow: boolean
  /** Whether a product may write rows with gaps. */
  readonly stridedResults: boolean
  /** A product; run it with the addresses of a, b, c and the addend, if any. */
  product(spec: Product): Runnable
  /** A product of prepared factors, or a batch of such products. */
  productOfPrepared(spec: Product, batch?: Batch): Runnable
  /** Whether products of packed bfloat16 matrices are faster than products of float32: the CPU multiplies bfloat16. */
  readonly packs: boolean
  /**
   * The product c [m, n] = alpha · a · b of bfloat16 factors: a [m, k] without gaps, and b [k, n] packed, which is
   *
   *     [n / 64 stripes][k / 2 pairs of rows][64 columns][2 rows] bfloat16,
   *
   * where k is padded with zeros to a multiple of 32, and n to whole stripes. c is float32.
   */
  productOfPacked(spec: PackedProduct): Runnable
  /**
   * Bytes per element of a *prepared* factor. Callers prepare a factor once if several products use it: a factor of
   * 4 bytes is used as it is, a factor of 2 bytes must be rounded.
   */
  readonly factorBytes: 2 | 4
  /**
   * Prepares a float32 factor with rows `stride` apart and returns its address: `to`, or `from` if it is used as it is.
   */
  prepare(from: number, to: number, rows: number, columns: number, stride?: number): number
  /**
   * The rounding of float32 [rows, columns] with rows `stride` apart to a bfloat16 factor without gaps; run it with
   * both addresses.
   */
  round(rows: number, columns: number, stride: number): Runnable
  /** The activation y = f(x) of `count` numbers; run it with x, y, both of the same type. y may be x. */
  activation(kind: Activation, count: number, type?: FactorType): Runnable
  /** The activation y = f(x) and dx = dy · f′(x); run it with x, dy, y, dx, all of the same type. dx may be dy. */
  activationGradient(kind: Activation, count: number, type?: FactorType): Runnable
  /** The softmax of each row, without gaps; run it with x, y. It may be slow for some numbers (`slowFarBelow`). */
  softmax(rows: number, columns: number): Runnable
  /** The product z = x ∘ y of `count` numbers; run it with x, y, z, all of the same type. */
  multiply(count: number, type?: FactorType): Runnable
  /** The sum z = x + y of `count` floats; run it with x, y, z. */
  add(count: number): Runnable
}

/** Number of primitives that a thread caches: a primitive of oneDNN has tens of kilobytes of machine code. */
const MAX_CACHED = 1024

/** The primitives of a thread, by key. If there are too many, the least recently used quarter is destroyed. */
export class PrimitiveCache {
  private readonly primitives = new Map<string, Runnable>()
  private clock = 0

  get(key: string, make: () => Runnable): Runnable {
    let primitive = this.primitives.get(key)
    if (!primitive) {
      if (this.primitives.size >= MAX_CACHED) this.evict()
      primitive = make()
      this.primitives.set(key, primitive)
    }
    primitive.used = ++this.clock
    return primitive
  }

  /** Destroys old primitives: the numbers of rows of experts keep changing, so most shapes are soon of no use. */
  private evict(): void {
    const oldest = [...this.primitives].sort(([, a], [, b]) => a.used - b.used).slice(0, MAX_CACHED / 4)
    for (const [key, primitive] of oldest) {
      this.primitives.delete(key)
      primitive.destroy()
    }
  }
}
