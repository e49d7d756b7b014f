/** Causal scaled dot-product attention with its gradient (Vaswani et al. 2017, eq. 1). */
import { dim } from '../shape.ts'
import { constant, defineOp, emit, emitKernel, type Tensor } from '../tensor.ts'
import { less, multiply, subtract, where } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { rowSums } from './reduction.ts'
import { reshape } from './shape.ts'

/** Far below any score, yet finite: exp of it is zero and differences of it are not NaN. */
const MASKED = -1e30

/**
 * softmax(scale · q·kᵀ) · v, where each position sees itself and earlier positions.
 * q, k, v and the result are [B, H, S, d].
 * @param first_T The first position that each position sees in its sequence, int32 [B·S], not after itself; default: 0.
 */
export const causalAttention: (q: Tensor, k: Tensor, v: Tensor, scale: number, first_T?: Tensor) => Tensor = defineOp(
  'causal-attention',
  'fused',
  (q: Tensor, k: Tensor, v: Tensor, scale: number, first_T?: Tensor) => {
    const scores = matmul(q, k, { transposeB: true, alpha: scale })
    const [batch, sequence] = [dim(q.shape, 0), dim(q.shape, -2)]
    const causal = causalMask(sequence, q.dtype)
    const mask = first_T ? where(isBefore(first_T, batch, sequence), MASKED, causal) : causal
    const masked = emit('Add', [scores, mask], { shape: scores.shape })
    const weights = emit('Softmax', [masked], { shape: scores.shape, attributes: { axis: -1 } })
    const result = matmul(weights, v)
    return {
      result,
      inputs: [q, k, v],
      gradient: (dy) => {
        if (!dy) return []
        // For each row Σ_j weight·dWeight equals Σ dy·y, which sums over d instead of S.
        const dots = rowSums(multiply(dy, result))
        const dScores = multiply(weights, subtract(matmul(dy, v, { transposeB: true }), dots))
        return [
          matmul(dScores, k, { alpha: scale }),
          matmul(dScores, q, { transposeA: true, alpha: scale }),
          matmul(weights, dy, { transposeA: true }),
        ]
      },
    }
  },
)

export interface AttentionShape {
  readonly batch: number
  readonly sequence: number
  readonly heads: number
  /** Scale of the scores. */
  readonly scale: number
}

/** cos and sin of the angles [S, d/2]. */
export type Angles = readonly [cos: Tensor, sin: Tensor]

/**
 * Causal attention as a kernel, with or without rotary positions. qkv [T, 3·D] has the heads of q, then of k,
 * then of v, each wider than 1; the result is [T, D]. first_T as for `causalAttention`.
 */
export const attentionKernel: (qkv: Tensor, angles: Angles | null, shape: AttentionShape, first_T?: Tensor) => Tensor =
  defineOp(
    'attention-kernel',
    'kernel',
    (qkv: Tensor, angles: Angles | null, { scale, ...shape }: AttentionShape, first_T?: Tensor) => {
      const options = { attributes: { ...shape, scale: { float: scale } }, local: true } as const
      const optional = [...(angles ?? []), ...(first_T ? [first_T] : [])]
      const { dtype } = qkv
      const [tokens, columns] = [dim(qkv.shape, 0), dim(qkv.shape, 1)]
      const [result] = emitKernel('attention', [qkv, ...optional], [{ dtype, shape: [tokens, columns / 3] }], options)
      return {
        result: result as Tensor,
        inputs: [qkv],
        gradient: (dy) => [
          dy && emitKernel('attention-gradient', [dy, qkv, ...optional], [{ dtype, shape: qkv.shape }], options)[0],
        ],
      }
    },
  )

/** Whether a key comes before the first position that a query sees: [B, 1, S, S]. */
function isBefore(first_T: Tensor, batch: number, sequence: number): Tensor {
  const positions = constant(
    Int32Array.from({ length: sequence }, (_, position) => position),
    'int32',
  )
  return less(positions, reshape(first_T, [batch, 1, sequence, 1]))
}

function causalMask(length: number, dtype: Tensor['dtype']): Tensor {
  const mask = new Float64Array(length * length)
  for (let i = 0; i < length; i++) for (let j = i + 1; j < length; j++) mask[i * length + j] = MASKED
  return constant(mask, dtype, [length, length])
}
