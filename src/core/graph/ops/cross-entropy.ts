/**
 * Cross-entropy of a linear head, as one op. Logits and their gradient are the largest activations of
 * a small model. In the fused op, the gradient of the logits is one exponential of the log-probabilities;
 * the target's −1, the mask and the mean are applied to the smaller [T, D] tensors.
 */
import { emitKernel, hasKernel } from '../kernels/declaration.ts'
import * as kernels from '../kernels/products.ts'
import { dim } from '../shape.ts'
import { defineOp, emit, type Tensor } from '../tensor.ts'
import { add, cast, divide, greaterOrEqual, maximum, multiply, negate, subtract } from './elementwise.ts'
import { gather, scatterAdd } from './indexing.ts'
import { matmul } from './matmul.ts'
import { isQuantized } from './quantized.ts'
import { max, sum } from './reduction.ts'
import { concat, reshape, slice } from './shape.ts'

/**
 * The mean of −log softmax(x·headᵀ)[target] over the counted positions, in nats; the value of each position [T], 0
 * for a position that is not counted; and whether the target of each position is the most probable one, 1 or 0, int32
 * [T], without a gradient. x [T, D], head [V, D], targets [T] int32; positions with a negative target are not counted.
 */
export const linearCrossEntropies: (
  x: Tensor,
  head: Tensor,
  targets: Tensor,
) => readonly [mean: Tensor, each: Tensor, greedy: Tensor] = defineOp(
  'linear-cross-entropy',
  'fused',
  (x: Tensor, head: Tensor, targets: Tensor) => {
    const [rows, vocabulary] = [dim(x.shape, 0), dim(head.shape, 0)]
    const isCounted = greaterOrEqual(targets, 0)
    const counted = cast(isCounted, x.dtype)
    const column = reshape(maximum(targets, 0), [rows, 1])
    const { nats, greedy, dLogits, factor = head, complete = false } = crossEntropyOf(x, head, targets, column)
    // The kernel writes both to the program's own memory, so neither is returned as it is.
    const each = multiply(nats, counted)
    const countedGreedy = multiply(greedy, cast(isCounted, 'int32'))
    const total = sum(each)
    const count = maximum(sum(counted), 1)
    return {
      result: [divide(total, count), each, countedGreedy] as const,
      inputs: [x, head],
      gradient: (dMean, dEach) => {
        const shares = [...(dMean ? [divide(dMean, count)] : []), ...(dEach ? [dEach] : [])]
        if (shares.length === 0) return []
        // dLogits = softmax − one-hot(target).
        const weight = reshape(
          multiply(
            counted,
            shares.reduce((a, b) => add(a, b)),
          ),
          [rows, 1],
        )
        const weighted = multiply(x, weight)
        if (!dLogits) throw new Error('internal: a quantized head has no gradient')
        const dx = matmul(dLogits, factor)
        const dHead = matmul(dLogits, weighted, { transposeA: true })
        if (complete) return [multiply(dx, weight), dHead]
        // The one-hot part subtracts a row of the head from dx, and adds a row to dHead.
        const chosenRow = reshape(column, [rows])
        return [
          multiply(subtract(dx, gather(head, chosenRow)), weight),
          add(dHead, scatterAdd(negate(weighted), chosenRow, vocabulary)),
        ]
      },
    }
  },
)

/** The mean of {@link linearCrossEntropies}. */
export const linearCrossEntropy = (x: Tensor, head: Tensor, targets: Tensor): Tensor =>
  linearCrossEntropies(x, head, targets)[0]

interface CrossEntropy {
  /** [T] */
  readonly nats: Tensor
  /** int32 [T] */
  readonly greedy: Tensor
  /** The probabilities [T, V], less the one-hot target if `complete`; absent without a gradient. */
  readonly dLogits?: Tensor
  /** Whether the one-hot target is subtracted. */
  readonly complete?: true
  /** The head as a factor of products, if it was prepared. */
  readonly factor?: Tensor
}

/** @param column The targets [T, 1], 0 for a position that is not counted. */
function crossEntropyOf(x: Tensor, head: Tensor, targets: Tensor, column: Tensor): CrossEntropy {
  if (isQuantized(head)) return withoutGradient(x, head, column)
  if (x.shape[0] !== 0 && hasKernel(kernels.linearCrossEntropy, x.dtype)) return fusedKernel(x, head, targets)
  const logits = matmul(x, head, { transposeB: true })
  return hasKernel(kernels.crossEntropy, x.dtype) ? kernelOfLogits(logits, targets) : byParts(logits, column)
}

/** The kernel computes the logits too, so that only their gradient is kept in memory. */
function fusedKernel(x: Tensor, head: Tensor, targets: Tensor): CrossEntropy {
  const factor = hasKernel(kernels.round, x.dtype) ? emitKernel(kernels.round, { x: head }).y : head
  return { ...emitKernel(kernels.linearCrossEntropy, { x, head: factor, targets }), complete: true, factor }
}

/** Rows whose logits are in memory at a time, if nothing needs their gradient. */
const ROWS = 512

/** Some rows after the other, since the logits of all of them may need more memory than the head. */
function withoutGradient(x: Tensor, head: Tensor, column: Tensor): CrossEntropy {
  const rows = dim(x.shape, 0)
  const parts = Array.from({ length: Math.ceil(rows / ROWS) }, (_, i) => {
    const of = (tensor: Tensor) => slice(tensor, 0, i * ROWS, Math.min(rows, (i + 1) * ROWS))
    return byParts(matmul(of(x), head, { transposeB: true }), of(column))
  })
  return {
    nats: concat(
      parts.map(({ nats }) => nats),
      0,
    ),
    greedy: concat(
      parts.map(({ greedy }) => greedy),
      0,
    ),
  }
}

function byParts(logits: Tensor, column: Tensor): CrossEntropy {
  const { shape } = logits
  const [rows = 0] = shape
  const logProbabilities = emit('LogSoftmax', [logits], { shape, attributes: { axis: -1 } })
  const chosen = emit('GatherElements', [logProbabilities, column], { shape: [rows, 1], attributes: { axis: 1 } })
  const isLargest = greaterOrEqual(chosen, max(logProbabilities, { axes: [1], keepDims: true }))
  const greedy = cast(reshape(isLargest, [rows]), 'int32')
  return { dLogits: emit('Exp', [logProbabilities], { shape }), nats: reshape(negate(chosen), [rows]), greedy }
}

/** The kernel overwrites the logits with their gradient. */
function kernelOfLogits(logits: Tensor, targets: Tensor): CrossEntropy {
  return { ...emitKernel(kernels.crossEntropy, { logits, targets }), complete: true }
}
