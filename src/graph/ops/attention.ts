/** Causal scaled dot-product attention with its gradient (Vaswani et al. 2017, eq. 1). */
import { dim } from '../shape.ts'
import { constant, defineOp, emit, emitKernel, type Tensor } from '../tensor.ts'
import { multiply, subtract } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { rowSums } from './reduction.ts'

/** Far below any score, yet finite: exp of it is zero and differences of it are not NaN. */
const MASKED = -1e30

/**
 * softmax(scale · q·kᵀ, each position seeing itself and those before it) · v.
 * q, k, v and the result are [B, H, S, d].
 */
export const causalAttention: (q: Tensor, k: Tensor, v: Tensor, scale: number) => Tensor = defineOp(
  'causal-attention',
  'fused',
  (q: Tensor, k: Tensor, v: Tensor, scale: number) => {
    const scores = matmul(q, k, { transposeB: true, alpha: scale })
    const masked = emit('Add', [scores, causalMask(dim(q.shape, -2), q.dtype)], { shape: scores.shape })
    const share = emit('Softmax', [masked], { shape: scores.shape, attributes: { axis: -1 } })
    const result = matmul(share, v)
    return {
      result,
      inputs: [q, k, v],
      gradient: (dy) => {
        if (!dy) return []
        // Σ_j share·dShare of a row equals Σ dy·y of it: summed over d instead of S.
        const along = rowSums(multiply(dy, result))
        const dScores = multiply(share, subtract(matmul(dy, v, { transposeB: true }), along))
        return [
          matmul(dScores, k, { alpha: scale }),
          matmul(dScores, q, { transposeA: true, alpha: scale }),
          matmul(share, dy, { transposeA: true }),
        ]
      },
    }
  },
)

export interface AttentionShape {
  readonly batch: number
  readonly sequence: number
  readonly heads: number
  /** Factor of the scores. */
  readonly scale: number
}

/**
 * The same from the rows of qkv, with rotary positions or without, as a kernel. qkv [T, 3·D] holds the
 * heads of q, then of k, then of v, each wider than 1; cos and sin of the angles [S, d/2]; the result is [T, D].
 */
export const attentionKernel: (
  qkv: Tensor,
  angles: readonly [cos: Tensor, sin: Tensor] | null,
  shape: AttentionShape,
) => Tensor = defineOp(
  'attention-kernel',
  'kernel',
  (qkv: Tensor, angles: readonly [cos: Tensor, sin: Tensor] | null, { scale, ...shape }: AttentionShape) => {
    const options = { attributes: { ...shape, scale: { float: scale } }, local: true } as const
    const tables = angles ?? []
    const { dtype } = qkv
    const [tokens, columns] = [dim(qkv.shape, 0), dim(qkv.shape, 1)]
    const [result] = emitKernel('attention', [qkv, ...tables], [{ dtype, shape: [tokens, columns / 3] }], options)
    return {
      result: result as Tensor,
      inputs: [qkv],
      gradient: (dy) => [
        dy && emitKernel('attention-gradient', [dy, qkv, ...tables], [{ dtype, shape: qkv.shape }], options)[0],
      ],
    }
  },
)

function causalMask(length: number, dtype: Tensor['dtype']): Tensor {
  const mask = new Float64Array(length * length)
  for (let i = 0; i < length; i++) for (let j = i + 1; j < length; j++) mask[i * length + j] = MASKED
  return constant(mask, dtype, [length, length])
}
