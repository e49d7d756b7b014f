/**
 * What a program of one token needs besides the other ops, for inference only: none has a gradient.
 *
 * A product of one row with a matrix is a walk through the matrix. ONNX Runtime has a kernel for it,
 * which it takes only when nothing is scaled (alpha = 1): so scales are ops of their own here.
 */
import { dim } from '../shape.ts'
import { constant, defineIndexOp, emit, type Tensor } from '../tensor.ts'

/**
 * A table with one row replaced: table [R, ...], row [1, ...], position int64 [1, 1]. Bound to the memory
 * of the table itself, it writes that row and nothing else.
 */
export const replaceRow: (table: Tensor, row: Tensor, position: Tensor) => Tensor = defineIndexOp(
  'replace-row',
  'indexing',
  (table: Tensor, row: Tensor, position: Tensor) => emit('ScatterND', [table, position, row], { shape: table.shape }),
)

/**
 * Attention of one query over cached positions: q [H, 1, d], keys and values [P, H, d], mask [1, P] added
 * to the scores (0 for what is seen, else far below any score) → [H, 1, d].
 */
export const cachedAttention: (q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: number) => Tensor =
  defineIndexOp('cached-attention', 'fused', (q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: number) => {
    const shape = [dim(q.shape, 0), 1, dim(keys.shape, 0)]
    const scaled = emit('Mul', [q, constant(scale, q.dtype)], { shape: q.shape })
    const scores = byHead(scaled, keys, shape, true)
    const masked = emit('Add', [scores, mask], { shape })
    const share = emit('Softmax', [masked], { shape, attributes: { axis: -1 } })
    return byHead(share, values, q.shape, false)
  })

/** a [H, 1, m] times the part [P, d] of each head of b [P, H, d], or its transpose, without moving b. */
const byHead = (a: Tensor, b: Tensor, shape: readonly number[], transposed: boolean): Tensor =>
  emit('FusedMatMul', [a, b], {
    domain: 'com.microsoft',
    shape,
    attributes: { transBatchB: 1, transB: transposed ? 1 : 0, alpha: { float: 1 } },
  })

/** Exact GELU, x·Φ(x), in one pass. */
export const geluInOnePass: (x: Tensor) => Tensor = defineIndexOp('gelu-in-one-pass', 'fused', (x: Tensor) =>
  emit('Gelu', [x], { shape: x.shape }),
)
