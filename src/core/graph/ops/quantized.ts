/**
 * Ops of programs whose matrices are quantized (`quantized-layout.ts`), as kernels
 * (src/engine/cpu/staged/kernels/quantized).
 *
 * In a program of tokens (`token.ts`) with weights of 8 or 4 bits, a row x is rounded to int16, scaled by its largest
 * number, so that products are sums of integers. The rounding error is at most 1/65,534 of the largest number, which is
 * small beside the rounding error of the weights. With 16 bits, x stays float32. In a pass over many tokens of a text,
 * factors are rounded to bfloat16 if the CPU multiplies bfloat16, and products are float32 otherwise.
 */

import { emitKernel } from '../kernels/declaration.ts'
import * as kernels from '../kernels/quantized.ts'
import { type Bits, quantizedBytes } from '../quantized-layout.ts'
import { defineIndexOp, emit, type Node, type Tensor } from '../tensor.ts'

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

/** The rows [R, K] of the table wᵀ at `index` int32 [R]. */
export const quantizedRows: (w: QuantizedMatrix, index: Tensor) => Tensor = defineIndexOp(
  'quantized-rows',
  'kernel',
  ({ data: w, inner, bits }: QuantizedMatrix, index: Tensor) =>
    emitKernel(kernels.quantizedRows, { w, index }, { inner, bits }).rows,
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

/** The type of a node whose result only stands for a matrix. */
const STANDS_FOR = 'quantized-matrix'

/**
 * A matrix [inner, columns], or [columns, inner] if `transposed`, as an operand of `matmul` and of `gather`, which read the
 * quantized weights themselves. No engine computes this tensor, so other ops cannot read it.
 */
export function quantizedOperand({ data, inner, columns, bits }: QuantizedMatrix, transposed: boolean): Tensor {
  const shape = transposed ? [columns, inner] : [inner, columns]
  return emit(STANDS_FOR, [data], { dtype: 'float32', shape, attributes: { bits, transposed: transposed ? 1 : 0 } })
}

/** Whether a tensor is a {@link quantizedOperand}. */
export const isQuantized = ({ source }: Tensor): boolean => source.kind === 'node' && source.type === STANDS_FOR

/**
 * alpha · x·w of many rows x [R, K] and a {@link quantizedOperand}: [R, N].
 * @param transposed Whether `operand` is wᵀ in this product.
 */
export function quantizedMatmul(x: Tensor, operand: Tensor, transposed: boolean, alpha: number): Tensor {
  const { data: w, columns, bits, isTransposed } = matrixOf(operand)
  if (x.shape.length !== 2 || isTransposed !== transposed)
    throw new Error('internal: quantized weights are multiplied with rows, and only as they are stored')
  return emitKernel(kernels.quantizedMatmul, { x, w }, { columns, bits, alpha: { float: alpha } }).y
}

/** The rows of a {@link quantizedOperand} at `index` int32 [R]. */
export function rowsOfQuantized(operand: Tensor, index: Tensor): Tensor {
  const { isTransposed, ...matrix } = matrixOf(operand)
  if (!isTransposed) throw new Error('internal: only a transposed quantized matrix has rows that are stored together')
  return quantizedRows(matrix, index)
}

function matrixOf({ source, shape }: Tensor): QuantizedMatrix & { readonly isTransposed: boolean } {
  const { inputs, attributes } = source as Node
  const isTransposed = attributes.transposed === 1
  const [rows, columns] = shape as readonly [number, number]
  const sides = isTransposed ? { inner: columns, columns: rows } : { inner: rows, columns }
  return { data: inputs[0] as Tensor, ...sides, bits: attributes.bits as Bits, isTransposed }
}

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
