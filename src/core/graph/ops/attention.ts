/** Causal scaled dot-product attention with its gradient (Vaswani et al. 2017, eq. 1). */
import * as kernels from '../kernels/attention.ts'
import { emitKernel } from '../kernels/declaration.ts'
import type { DType, Shape } from '../model.ts'
import { dim } from '../shape.ts'
import { constant, defineOp, emit, type Tensor } from '../tensor.ts'
import { broadcastTo, less, multiply, subtract, where } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { rowSums, sum } from './reduction.ts'
import { reshape } from './shape.ts'

/** The score of a masked key: far below any score, so its exp is 0, yet finite, so differences are not NaN. */
const MASKED = -1e30

/**
 * softmax(scale · q·kᵀ) · v, where each position sees itself and earlier positions. q and the result are [B, H, S, d];
 * k and v may have fewer heads, [B, H/n, P + S, d], each for n consecutive heads of q. They begin with P rows of earlier
 * positions, if there are any: query s is the position of key P + s.
 * @param first_T The first key of its sequence that each query sees, int32 [B·S], at most the query's own; default: 0.
 */
export const causalAttention: (q: Tensor, k: Tensor, v: Tensor, scale: number, first_T?: Tensor) => Tensor = defineOp(
  'causal-attention',
  'fused',
  (q: Tensor, k: Tensor, v: Tensor, scale: number, first_T?: Tensor) => {
    const shared = dim(q.shape, 1) / dim(k.shape, 1)
    const [keys, values] = [forEachQueryHead(k, shared), forEachQueryHead(v, shared)]
    const scores = matmul(q, keys, { transposeB: true, alpha: scale })
    const mask = maskOf(dim(q.shape, -2), dim(k.shape, -2), q.dtype, first_T && { first_T, batch: dim(q.shape, 0) })
    const masked = emit('Add', [scores, mask], { shape: scores.shape })
    const weights = emit('Softmax', [masked], { shape: scores.shape, attributes: { axis: -1 } })
    const result = matmul(weights, values)
    return {
      result,
      inputs: [q, k, v],
      gradient: (dy) => {
        if (!dy) return []
        // For each row Σ_j weight·dWeight equals Σ dy·y, which sums over d instead of S.
        const dots = rowSums(multiply(dy, result))
        const dScores = multiply(weights, subtract(matmul(dy, values, { transposeB: true }), dots))
        return [
          matmul(dScores, keys, { alpha: scale }),
          sumOverQueryHeads(matmul(dScores, q, { transposeA: true, alpha: scale }), shared),
          sumOverQueryHeads(matmul(weights, dy, { transposeA: true }), shared),
        ]
      },
    }
  },
)

/** Repeats each head of keys or values [B, H/n, S, d] for its n heads of queries: [B, H, S, d]. */
function forEachQueryHead(x: Tensor, n: number): Tensor {
  if (n === 1) return x
  const [batch, heads, ...row] = x.shape as [number, number, number, number]
  return reshape(broadcastTo(reshape(x, [batch, heads, 1, ...row]), [batch, heads, n, ...row]), [
    batch,
    heads * n,
    ...row,
  ])
}

/** The gradient of {@link forEachQueryHead}. */
function sumOverQueryHeads(dx: Tensor, n: number): Tensor {
  if (n === 1) return dx
  const [batch, heads, ...row] = dx.shape as [number, number, number, number]
  return sum(reshape(dx, [batch, heads / n, n, ...row]), { axes: [2] })
}

export interface AttentionShape {
  readonly batch: number
  readonly sequence: number
  /** Heads of queries, H. */
  readonly heads: number
  /** Heads of keys and of values, KV, each for H/KV consecutive heads of queries. */
  readonly keyHeads: number
  /** Scale of the scores. */
  readonly scale: number
  /**
   * Largest number of positions that a token sees; first_T says which. Kernels may skip the positions that no query of
   * a block sees.
   */
  readonly window?: number
}

/** cos and sin of the angles [S, d/2]. */
export type Angles = readonly [cos: Tensor, sin: Tensor]

/**
 * Causal attention as a kernel, with or without rotary positions. qkv [T, (H + 2·KV)·d] has the heads of q, then of k,
 * then of v, each wider than 1; the result is [T, H·d]. first_T is as in `causalAttention`.
 */
export const attentionKernel: (qkv: Tensor, angles: Angles | null, shape: AttentionShape, first_T?: Tensor) => Tensor =
  defineOp(
    'attention-kernel',
    'kernel',
    (qkv: Tensor, angles: Angles | null, { scale, window, ...shape }: AttentionShape, first_T?: Tensor) => {
      const attributes = { ...shape, window: window ?? shape.sequence, scale: { float: scale } }
      const [cos, sin] = angles ?? []
      const optional = { cos, sin, first: first_T }
      const { y, logSums } = emitKernel(kernels.attention, { qkv, ...optional }, attributes)
      return {
        result: y,
        inputs: [qkv],
        gradient: (dy) => [
          dy && emitKernel(kernels.attentionGradient, { dy, qkv, y, logSums, ...optional }, attributes).dQkv,
        ],
      }
    },
  )

/**
 * The mask that is added to scores: 0 for the keys that a query sees, else {@link MASKED}; [S, P + S], or
 * [B, 1, S, P + S] with first keys. The last query is the last key. The program computes the mask from positions. As a
 * constant it would have S² numbers, which for long sequences are more than an array or an ONNX model can hold.
 */
function maskOf(queries: number, keys: number, dtype: DType, document?: { first_T: Tensor; batch: number }): Tensor {
  const positions = (from: number, shape: Shape) =>
    constant(
      Int32Array.from({ length: keys - from }, (_, i) => from + i),
      'int32',
      shape,
    )
  const [key, query] = [positions(0, [keys]), positions(keys - queries, [queries, 1])]
  const causal = where(less(query, key), constant([MASKED], dtype, []), constant([0], dtype, []))
  if (!document) return causal
  const first = reshape(document.first_T, [document.batch, 1, queries, 1])
  return where(less(key, first), MASKED, causal)
}
