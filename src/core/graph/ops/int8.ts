/**
 * Ops of programs of one token whose matrices are int8 (`int8-layout.ts`), as kernels
 * (src/engine/cpu/staged/kernels/int8.ts). A row x is rounded to int16 by the largest of its numbers, so that products are
 * sums of integers; its rounding error, 1/65,534 of that number at most, is small beside that of the weights.
 */
import { int8Bytes } from '../int8-layout.ts'
import { dim } from '../shape.ts'
import { defineIndexOp, emitKernel, type Tensor } from '../tensor.ts'

/** A matrix w [inner, columns], or one for each expert. */
export interface Int8Matrix {
  /** Bytes in the layout of `int8-layout.ts`, as int32 [E, words]. */
  readonly data: Tensor
  readonly inner: number
  readonly columns: number
}

/** Words of one matrix of {@link Int8Matrix}. */
export const int8Words = (inner: number, columns: number): number => int8Bytes(inner, columns) / 4

/** x·w of a row x [1, K]: [1, N]. */
export const int8Product: (x: Tensor, w: Int8Matrix) => Tensor = defineIndexOp(
  'int8-product',
  'kernel',
  (x: Tensor, { data, columns }: Int8Matrix) =>
    emitKernel('int8-product', [x, data], [{ dtype: x.dtype, shape: [1, columns] }], {
      local: true,
      addsTo: [0],
    })[0] as Tensor,
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
    const { dtype } = x
    const active = { dtype, shape: [dim(experts.shape, 1), up.columns] }
    const matrices = [up.data, ...(gate ? [gate.data] : [])]
    const [inner] = emitKernel('int8-experts-up', [x, experts, ...matrices], [active], { local: true })
    const result = { dtype, shape: [1, down.columns] }
    const options = { local: true, addsTo: [0] } as const
    return emitKernel('int8-experts-down', [inner as Tensor, experts, gates, down.data], [result], options)[0] as Tensor
  },
)
