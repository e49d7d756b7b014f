/**
 * Ops of programs whose matrices are int8 (`int8-layout.ts`), as kernels (src/engine/cpu/staged/kernels/int8.ts).
 *
 * In a program of one token, a row x is rounded to int16, scaled by its largest number, so that products are sums of
 * integers. The rounding error is at most 1/65,534 of the largest number, which is small beside the rounding error of
 * the weights. In a pass over many tokens, matrices become float32 one after the other, and products are those of
 * float32.
 */
import { int8Bytes } from '../int8-layout.ts'
import { emitKernel } from '../kernels/declaration.ts'
import * as kernels from '../kernels/int8.ts'
import { defineIndexOp, type Tensor } from '../tensor.ts'

/** A matrix w [inner, columns], or one for each expert. */
export interface Int8Matrix {
  /** Bytes in the layout of `int8-layout.ts`, as int32 [E, words]. */
  readonly data: Tensor
  readonly inner: number
  readonly columns: number
}

/** Number of int32 words of one matrix in {@link Int8Matrix}. */
export const int8Words = (inner: number, columns: number): number => int8Bytes(inner, columns) / 4

/** y = x·w of a row x [1, K]: [1, N]. */
export const int8Product: (x: Tensor, w: Int8Matrix) => Tensor = defineIndexOp(
  'int8-product',
  'kernel',
  (x: Tensor, { data: w, columns }: Int8Matrix) => emitKernel(kernels.int8Product, { x, w }, { columns }).y,
)

/** Weights of E experts. */
export interface Int8Experts {
  /** [D, F] */
  readonly up: Int8Matrix
  /** [D, F], for SwiGLU. */
  readonly gate?: Int8Matrix
  /** [F, D] */
  readonly down: Int8Matrix
}

/** Σ_k gate · expert(x) for a row x [1, D] with experts int32 [1, K] and gates [1, K]: [1, D]. */
export const int8Experts: (x: Tensor, experts: Tensor, gates: Tensor, weights: Int8Experts) => Tensor = defineIndexOp(
  'int8-experts',
  'kernel',
  (x: Tensor, experts: Tensor, gates: Tensor, { up, gate, down }: Int8Experts) => {
    const matrices = { up: up.data, gate: gate?.data }
    const { active } = emitKernel(kernels.int8ExpertsUp, { x, experts, ...matrices }, { columns: up.columns })
    const operands = { active, experts, gates, down: down.data }
    return emitKernel(kernels.int8ExpertsDown, operands, { columns: down.columns }).y
  },
)

/** The weights as floats, for products with many rows: [inner, columns], or [columns, inner] if `transposed`. */
export const int8Expand: (w: Int8Matrix, transposed: boolean) => Tensor = defineIndexOp(
  'int8-expand',
  'kernel',
  ({ data: w, inner, columns }: Int8Matrix, transposed: boolean) =>
    emitKernel(kernels.int8Expand, { w }, { inner, columns, transposed: transposed ? 1 : 0 }).weights,
)

/** The networks of all experts over their rows [R, D], given the number of rows of each: [R, D]. */
export const int8ExpertFfn: (rows: Tensor, sizes: Tensor, weights: Int8Experts) => Tensor = defineIndexOp(
  'int8-expert-ffn',
  'kernel',
  (rows: Tensor, sizes: Tensor, { up, gate, down }: Int8Experts) =>
    emitKernel(
      kernels.int8ExpertFfn,
      { rows, sizes, up: up.data, gate: gate?.data, down: down.data },
      { hidden: up.columns },
    ).y,
)
