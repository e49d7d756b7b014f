/**
 * Batched matrix multiplication with transposes and a scale, as ONNX Runtime's FusedMatMul (its
 * float32 kernel reads transposed operands in place). Other dtypes use the plain operators.
 */
import { emitKernel, hasKernel } from '../kernels/declaration.ts'
import * as kernels from '../kernels/products.ts'
import { expectFields } from '../options.ts'
import { broadcast, dim, formatShape, sameShape } from '../shape.ts'
import { constant, defineOp, emit, type Tensor } from '../tensor.ts'
import { isQuantized, quantizedMatmul } from './quantized.ts'
import { sumTo } from './reduction.ts'

export interface MatmulOptions {
  /** Transpose the last two axes of a. */
  readonly transposeA?: boolean
  /** Transpose the last two axes of b. */
  readonly transposeB?: boolean
  /** Factor of the result; scaling costs nothing. */
  readonly alpha?: number
}

/** alpha · a·b over the last two axes; the axes before them broadcast. [..., m, k] × [..., k, n] → [..., m, n] */
export const matmul: (a: Tensor, b: Tensor, options?: MatmulOptions) => Tensor = defineOp(
  'matmul',
  'matmul',
  (a: Tensor, b: Tensor, options: MatmulOptions = {}) => {
    expectFields('options of matmul', options, ['transposeA', 'transposeB', 'alpha'])
    const { transposeA = false, transposeB = false, alpha = 1 } = options
    const [m, k] = transposeA ? [dim(a.shape, -1), dim(a.shape, -2)] : [dim(a.shape, -2), dim(a.shape, -1)]
    const [k2, n] = transposeB ? [dim(b.shape, -1), dim(b.shape, -2)] : [dim(b.shape, -2), dim(b.shape, -1)]
    if (k !== k2 || a.dtype !== b.dtype)
      throw new Error(
        `matmul of ${a.dtype} ${formatShape(a.shape)}${transposeA ? 'ᵀ' : ''} and ${b.dtype} ${formatShape(b.shape)}${transposeB ? 'ᵀ' : ''}`,
      )
    const shape = [...broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2)), m, n]
    return {
      result: emitMatmul(a, b, { transposeA, transposeB, alpha }, shape),
      inputs: [a, b],
      gradient: (dy) => {
        if (!dy) return []
        const da = transposeA
          ? matmul(b, dy, { transposeA: transposeB, transposeB: true, alpha })
          : matmul(dy, b, { transposeB: !transposeB, alpha })
        const db = transposeB
          ? matmul(dy, a, { transposeA: true, transposeB: transposeA, alpha })
          : matmul(a, dy, { transposeA: !transposeA, alpha })
        return [sumTo(da, a.shape), sumTo(db, b.shape)]
      },
    }
  },
)

function emitMatmul(a: Tensor, b: Tensor, options: Required<MatmulOptions>, shape: readonly number[]): Tensor {
  const { transposeA, transposeB, alpha } = options
  if (isQuantized(b) && !transposeA) return quantizedMatmul(a, b, transposeB, alpha)
  const attributes = { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0, alpha: { float: alpha } } as const
  if (hasKernel(kernels.matmul, a.dtype) && fitsKernel(a, b, shape))
    return emitKernel(kernels.matmul, { a, b }, attributes).c
  if (!transposeA && !transposeB && alpha === 1) return emit('MatMul', [a, b], { shape })
  if (a.dtype === 'float32') return emit('FusedMatMul', [a, b], { domain: 'com.microsoft', shape, attributes })
  const product = emit('MatMul', [transposeA ? swapped(a) : a, transposeB ? swapped(b) : b], { shape })
  return alpha === 1 ? product : emit('Mul', [product, constant(alpha, a.dtype)], { shape })
}

/** The kernel multiplies matrices of known, non-zero sizes, or batches of them of the same shape. */
const fitsKernel = (a: Tensor, b: Tensor, shape: readonly number[]): boolean =>
  sameShape(a.shape.slice(0, -2), b.shape.slice(0, -2)) && [...a.shape, ...b.shape, ...shape].every((d) => d > 0)

/** The transpose of the last two axes. */
function swapped(x: Tensor): Tensor {
  const rank = x.shape.length
  const order = x.shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i))
  return emit('Transpose', [x], { shape: order.map((axis) => dim(x.shape, axis)), attributes: { perm: order } })
}
