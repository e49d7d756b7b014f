/**
 * Calls of matrix products, as strided batches: the operators of ONNX and the kernel of the graph differ only in the
 * order of axes in memory.
 */
import type { Shape } from '../../../../core/graph/model.ts'
import { dim } from '../../../../core/graph/shape.ts'
import type { KernelCall, Operand } from '../contract.ts'
import { floatOf } from '../views.ts'
import { type Lines, linesOf } from './floats.ts'
import { type Output, sumOutput } from './output.ts'

/** A batch of matrices in memory. One of the strides of a matrix is 1. */
export interface Matrices {
  readonly lines: Lines
  /** Strides by axis of the batch; 0 along an axis that is broadcast. */
  readonly batchStrides: readonly number[]
  readonly rowStride: number
  readonly columnStride: number
}

/** The product result = alpha · a·b (+ addend), for each pair of matrices of a batch: a [m, k], b [k, n]. */
export interface Product {
  readonly batch: readonly number[]
  readonly m: number
  readonly n: number
  readonly k: number
  readonly a: Matrices
  readonly b: Matrices
  readonly output: Output
  /** Whether factors are rounded to f16 (in tiles only). */
  readonly rounds: boolean
}

interface View {
  readonly dims: readonly number[]
  readonly strides: readonly number[]
}

/** @param axes The order of the axes of `view`. */
const permuted = ({ dims, strides }: View, axes: readonly number[]): View => ({
  dims: axes.map((axis) => dims[axis] as number),
  strides: axes.map((axis) => strides[axis] as number),
})

/**
 * A factor as [...batch, rows, columns].
 * @param transposed Whether memory has columns before rows.
 * @param rowsFirst Whether memory has the rows (or columns) before the batch, as ONNX Runtime's `transBatch`.
 */
function viewOf(shape: Shape, transposed: boolean, rowsFirst: boolean): View {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((product, d) => product * d, 1))
  const axes = shape.map((_, i) => i)
  const moved = rowsFirst ? [...axes.slice(1, -1), 0, axes.length - 1] : axes
  const [last, before] = [moved.at(-1) as number, moved.at(-2) as number]
  return permuted({ dims: shape, strides }, transposed ? [...moved.slice(0, -2), last, before] : moved)
}

const matricesOf = ({ dims, strides }: View, operand: Operand, batch: readonly number[]): Matrices => {
  const outer = batch.length - (dims.length - 2)
  return {
    lines: linesOf(operand),
    batchStrides: batch.map((_, i) => (i < outer || dims[i - outer] === 1 ? 0 : (strides[i - outer] as number))),
    rowStride: dim(strides, -2),
    columnStride: dim(strides, -1),
  }
}

/** The batch after NumPy's broadcasting of the axes before the last two. */
const broadcast = (a: Shape, b: Shape): number[] =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, i) => {
    const [x = 1, y = 1] = [a.at(i - Math.max(a.length, b.length)), b.at(i - Math.max(a.length, b.length))]
    return x === 1 ? y : x
  })

/**
 * A batch of products with the same b is one product, if the rows of all a follow each other in memory: sums over the
 * last axis of a tensor, for example.
 */
function folded(product: Product): Product {
  const { batch, m, a, b } = product
  const rows = batch.map((_, i) => m * batch.slice(i + 1).reduce((count, d) => count * d, 1))
  const follow = batch.every((d, i) => d === 1 || a.batchStrides[i] === (rows[i] as number) * a.rowStride)
  if (!follow || b.batchStrides.some((stride) => stride !== 0)) return product
  const single = (matrices: Matrices): Matrices => ({ ...matrices, batchStrides: [] })
  return { ...product, batch: [], m: batch.reduce((count, d) => count * d, m), a: single(a), b: single(b) }
}

/** A call of `matmul`, or of an operator, whose attributes may be absent. */
export type ProductCall = KernelCall<{
  readonly name: string
  readonly inputs: readonly ['a', 'b']
  readonly outputs: readonly ['c']
}>

/** The product of a call. Vectors are rows on the left, columns on the right. */
export function productOf({
  attributes,
  inputs: { a, b },
  outputs: { c },
  addends,
  scales,
  rounds,
}: ProductCall): Product {
  const { transA, transB, transBatchA, transBatchB, alpha = { float: 1 } } = attributes
  const left = viewOf(a.shape.length === 1 ? [1, ...a.shape] : a.shape, transA === 1, transBatchA === 1)
  const right = viewOf(b.shape.length === 1 ? [...b.shape, 1] : b.shape, transB === 1, transBatchB === 1)
  const [m, k, n] = [dim(left.dims, -2), dim(left.dims, -1), dim(right.dims, -1)]
  const batch = broadcast(left.dims.slice(0, -2), right.dims.slice(0, -2))
  return folded({
    batch,
    m,
    n,
    k,
    a: matricesOf(left, a, batch),
    b: matricesOf(right, b, batch),
    output: sumOutput({
      to: { of: c, line: n },
      addend: addends.c && { of: addends.c, line: n },
      alpha: floatOf(alpha) * (scales.c ?? 1),
    }),
    rounds,
  })
}

/**
 * WGSL of the offset at which a matrix of a batch begins. Axes that are one stride apart in memory are taken as one
 * axis.
 */
export function offsetOf(index: string, batch: readonly number[], strides: readonly number[]): string {
  const axes: { size: number; stride: number }[] = []
  for (const [i, size] of batch.entries()) {
    const stride = strides[i] as number
    const before = axes.at(-1)
    if (size === 1) continue
    if (before && before.stride === stride * size) axes.splice(-1, 1, { size: before.size * size, stride })
    else axes.push({ size, stride })
  }
  const terms = axes.flatMap(({ size, stride }, i) => {
    if (stride === 0) return []
    const inner = axes.slice(i + 1).reduce((product, axis) => product * axis.size, 1)
    return [`${index} / ${inner}u % ${size}u * ${stride}u`]
  })
  return terms.length === 0 ? '0u' : terms.join(' + ')
}
