/**
 * Cross-entropy of a linear head, as one op. Logits and their gradient are the largest activations of
 * a small model; fused, the gradient is one exponential over the log-probabilities, and all else (the
 * target's −1, the mask, the mean) is applied on the [T, D] side, where it costs little.
 */
import { dim } from '../shape.ts'
import { defineOp, emit, emitKernel, hasKernel, type Tensor } from '../tensor.ts'
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
    const counted = cast(greaterOrEqual(targets, 0), x.dtype)
    const column = reshape(maximum(targets, 0), [rows, 1])
    const kernel = hasKernel('cross-entropy', x.dtype)
    const { nats, share } = kernel ? crossEntropyKernel(logits, targets) : crossEntropyByParts(logits, column)
    const total = sum(multiply(nats, counted))
    const count = maximum(sum(counted), 1)
    return {
      result: divide(total, count),
      inputs: [x, head],
      gradient: (dy) => {
        if (!dy) return []
        // dLogits = softmax − one-hot(target).
        const weight = reshape(multiply(counted, divide(dy, count)), [rows, 1])
        const weighted = multiply(x, weight)
        const dx = matmul(share(), head)
        const dHead = matmul(share(), weighted, { transposeA: true })
        if (kernel) return [multiply(dx, weight), dHead]
        // The one-hot part is a row of the head here, a row added there.
        const chosenRow = reshape(column, [rows])
        return [
          multiply(subtract(dx, gather(head, chosenRow)), weight),
          add(dHead, scatterAdd(negate(weighted), chosenRow, vocabulary)),
        ]
      },
    }
  },
)

/** Nats of each row [T], and [T, V] the probabilities (kernel: less the one-hot target) for who needs them. */
interface CrossEntropy {
  readonly nats: Tensor
  readonly share: () => Tensor
}

function crossEntropyByParts(logits: Tensor, column: Tensor): CrossEntropy {
  const { shape } = logits
  const [rows = 0] = shape
  const logProbabilities = emit('LogSoftmax', [logits], { shape, attributes: { axis: -1 } })
  const chosen = emit('GatherElements', [logProbabilities, column], { shape: [rows, 1], attributes: { axis: 1 } })
  const probabilities = emit('Exp', [logProbabilities], { shape })
  return { nats: reshape(negate(chosen), [rows]), share: () => probabilities }
}

/** The gradient of the logits takes their place. */
function crossEntropyKernel(logits: Tensor, targets: Tensor): CrossEntropy {
  const { dtype, shape } = logits
  const results = [
    { dtype, shape },
    { dtype, shape: targets.shape },
  ]
  const options = { local: true, overwrites: true } as const
  const [dLogits, nats] = emitKernel('cross-entropy', [logits, targets], results, options) as [Tensor, Tensor]
  return { nats, share: () => dLogits }
}
