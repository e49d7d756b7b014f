/**
 * Ops of programs whose matrices are quantized (`quantized-layout.ts`), as kernels
 * (src/engine/cpu/staged/kernels/quantized).
 *
 * In a program of tokens (`token.ts`) with weights of 8 or 4 bits, a row x is rounded to int16, scaled by its largest
 * number, so that products are sums of integers. The rounding error is at most 1/65,534 of the largest number, which is
 * small beside the rounding error of the weights. With 16 bits, x stays float32. A pass over many tokens of a text makes
 * one matrix after the other float32, and multiplies in float32.
 */

import { emitKernel } from '../kernels/declaration.ts'
import * as kernels from '../kernels/quantized.ts'
import { type Bits, quantizedBytes } from '../quantized-layout.ts'
import { defineIndexOp, type Tensor } from '../tensor.ts'

/** A matrix w [inner, columns], or one for each expert. */
export interface QuantizedMatrix {
  /** Bytes in the layout of `quantized-layout.ts`, as int32 [E, words]. */
  readonly data: Tensor
  readonly inner: number
  readonly columns: number
  readonly bits: Bits
}

/** Number of int32 words of one matrix in {@link QuantizedMatrix}. */
export const quantizedWords = (bits: Bits, inner: number, columns: number): number =>
  quantizedBytes(bits, inner, columns) / 4

/** y = x·w of rows x [R, K]: [R, N]. */
export const quantizedProduct: (x: Tensor, w: QuantizedMatrix) => Tensor = defineIndexOp(
  'quantized-product',
  'kernel',
  (x: Tensor, { data: w, columns, bits }: QuantizedMatrix) =>
    emitKernel(kernels.quantizedProduct, { x, w }, { columns, bits }).y,
)

/** Weights of E experts. */
export interface QuantizedExperts {
  /** [D, F] */
  readonly up: QuantizedMatrix
  /** [D, F], for SwiGLU. */
  readonly gate?: QuantizedMatrix
  /** [F, D] */
  readonly down: QuantizedMatrix
}

/** Σ_k gate · expert(x) for rows x [R, D] with experts int32 [R, K] and gates [R, K]: [R, D]. */
export const quantizedExperts: (x: Tensor, experts: Tensor, gates: Tensor, weights: QuantizedExperts) => Tensor =
  defineIndexOp(
    'quantized-experts',
    'kernel',
    (x: Tensor, experts: Tensor, gates: Tensor, { up, gate, down }: QuantizedExperts) => {
      const matrices = { up: up.data, gate: gate?.data }
      const { active } = emitKernel(
        kernels.quantizedExpertsUp,
        { x, experts, ...matrices },
        { columns: up.columns, bits: up.bits },
      )
      const operands = { active, experts, gates, down: down.data }
      return emitKernel(kernels.quantizedExpertsDown, operands, { columns: down.columns, bits: down.bits }).y
    },
  )

/** The weights as floats, for products with many rows: [inner, columns], or [columns, inner] if `transposed`. */
export const quantizedExpand: (w: QuantizedMatrix, transposed: boolean) => Tensor = defineIndexOp(
  'quantized-expand',
  'kernel',
  ({ data: w, inner, columns, bits }: QuantizedMatrix, transposed: boolean) =>
    emitKernel(kernels.quantizedExpand, { w }, { inner, columns, bits, transposed: transposed ? 1 : 0 }).weights,
)

/** The networks of all experts over their rows [R, D], given the number of rows of each: [R, D]. */
export const quantizedExpertFfn: (rows: Tensor, sizes: Tensor, weights: QuantizedExperts) => Tensor = defineIndexOp(
  'quantized-expert-ffn',
  'kernel',
  (rows: Tensor, sizes: Tensor, { up, gate, down }: QuantizedExperts) =>
    emitKernel(
      kernels.quantizedExpertFfn,
      { rows, sizes, up: up.data, gate: gate?.data, down: down.data },
      { hidden: up.columns, bits: up.bits },
    ).y,
)
