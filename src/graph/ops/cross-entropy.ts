/**
 * Cross-entropy of a linear head, as one op. Logits and their gradient are the largest activations of
 * a small model; fused, the gradient is one exponential over the log-probabilities, and all else (the
 * target's −1, the mask, the mean) is applied on the [T, D] side, where it costs little.
 */
import { dim } from '../shape.ts'
import { defineOp, emit, type Tensor } from '../tensor.ts'
import { add, cast, divide, greaterOrEqual, maximum, multiply, negate, subtract } from './elementwise.ts'
import { gather, scatterAdd } from './indexing.ts'
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
        // dLogits = softmax − one-hot(target); the one-hot part is a row of the head here, a row added there.
        const probabilities = emit('Exp', [logProbabilities], { shape: [rows, vocabulary] })
        const chosenRow = reshape(column, [rows])
        const weight = reshape(multiply(counted, divide(dy, count)), [rows, 1])
        const weighted = multiply(x, weight)
        return [
          multiply(subtract(matmul(probabilities, head), gather(head, chosenRow)), weight),
          add(
            matmul(probabilities, weighted, { transposeA: true }),
            scatterAdd(negate(weighted), chosenRow, vocabulary),
          ),
        ]
      },
    }
  },
)
