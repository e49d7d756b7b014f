/**
 * Ops for programs of one token that run in ONNX Runtime. They are for inference only: none has a gradient.
 *
 * A product of one row with a matrix is one pass over the matrix. ONNX Runtime has a fast kernel for it,
 * but uses it only with alpha = 1, so scaling is a separate op here.
 */
import { dim } from '../shape.ts'
import { constant, defineIndexOp, emit, type Tensor } from '../tensor.ts'

/**
 * A table with one row replaced: table [R, ...], row [1, ...], position int64 [1, 1]. If the result is bound
 * to the memory of the table, only that row is written.
 */
export const replaceRow: (table: Tensor, row: Tensor, position: Tensor) => Tensor = defineIndexOp(
  'replace-row',
  'indexing',
  (table: Tensor, row: Tensor, position: Tensor) => emit('ScatterND', [table, position, row], { shape: table.shape }),
)

/**
 * Attention of one token over cached positions: q [H, n, d], the n queries of each head of keys and values; keys and
 * values [P, H, d]; mask [1, P] added to the scores (0 for visible positions, far below any score for the others) →
 * [H, n, d].
 */
export const cachedAttention: (q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: number) => Tensor =
  defineIndexOp('cached-attention', 'fused', (q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: number) => {
    const shape = [dim(q.shape, 0), dim(q.shape, 1), dim(keys.shape, 0)]
    const scaled = emit('Mul', [q, constant(scale, q.dtype)], { shape: q.shape })
    const scores = byHead(scaled, keys, shape, true)
    const masked = emit('Add', [scores, mask], { shape })
    const weights = emit('Softmax', [masked], { shape, attributes: { axis: -1 } })
    return byHead(weights, values, q.shape, false)
  })

/** Per head, a [H, n, m] times the slice [P, d] of b [P, H, d], or its transpose, without copying b. */
const byHead = (a: Tensor, b: Tensor, shape: readonly number[], transposed: boolean): Tensor =>
  emit('FusedMatMul', [a, b], {
    domain: 'com.microsoft',
    shape,
    attributes: { transBatchB: 1, transB: transposed ? 1 : 0, alpha: { float: 1 } },
  })

/** Exact GELU, x·Φ(x), as one node. */
export const geluInOnePass: (x: Tensor) => Tensor = defineIndexOp('gelu-in-one-pass', 'fused', (x: Tensor) =>
  emit('Gelu', [x], { shape: x.shape }),
)
