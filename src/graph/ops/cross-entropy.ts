/**
 * Cross-entropy of a linear head, as one op. Logits and their gradient are the largest activations of
 * a small model; fused, the gradient is one exponential over the log-probabilities and a scatter of
 * −1, and the mask and the mean are applied on the [T, D] side, where they cost nothing.
 */
import { dim } from '../shape.ts'
import { constant, defineOp, emit, type Tensor } from '../tensor.ts'
import { cast, divide, greaterOrEqual, maximum, multiply, negate } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { sum } from './reduction.ts'
import { reshape } from './shape.ts'

/**
 * Mean over counted positions of −log softmax(x·headᵀ)[target], in nats.
 * x [T, D], head [V, D], targets [T] int32; a negative target is not counted.
 */
export const linearCrossEntropy: (x: Tensor, head: Tensor, targets: Tensor) => Tensor = defineOp(
  'linear-cross-entropy',
  'fused',
  (x: Tensor, head: Tensor, targets: Tensor) => {
    const [rows, vocabulary] = [dim(x.shape, 0), dim(head.shape, 0)]
    const logits = matmul(x, head, { transposeB: true })
    const logProbabilities = emit('LogSoftmax', [logits], { shape: logits.shape, attributes: { axis: -1 } })
    const counted = cast(greaterOrEqual(targets, 0), x.dtype)
    const column = reshape(maximum(targets, 0), [rows, 1])
    const chosen = emit('GatherElements', [logProbabilities, column], { shape: [rows, 1], attributes: { axis: 1 } })
    const total = sum(multiply(reshape(negate(chosen), [rows]), counted))
    const count = maximum(sum(counted), 1)
    return {
      result: divide(total, count),
      inputs: [x, head],
      gradient: (dy) => {
        if (!dy) return []
        const probabilities = emit('Exp', [logProbabilities], { shape: [rows, vocabulary] })
        const minusOne = constant(new Float64Array(rows).fill(-1), x.dtype, [rows, 1])
        const dLogits = emit('ScatterElements', [probabilities, column, minusOne], {
          shape: [rows, vocabulary],
          attributes: { axis: 1, reduction: 'add' },
        })
        const weight = reshape(multiply(counted, divide(dy, count)), [rows, 1])
        return [multiply(matmul(dLogits, head), weight), matmul(dLogits, multiply(x, weight), { transposeA: true })]
      },
    }
  },
)
