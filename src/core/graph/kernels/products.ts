/** Kernels of matrix products, norms, and the loss. */
import { broadcast, dim } from '../shape.ts'
import { declareKernel } from './declaration.ts'

/** c = alpha · a·b over the last two dimensions, with either factor transposed; the other dimensions broadcast. */
export const matmul = declareKernel({
  name: 'matmul',
  inputs: ['a', 'b'],
  outputs: ['c'],
  results: (
    { a, b },
    { transA, transB }: { readonly transA: 0 | 1; readonly transB: 0 | 1; readonly alpha: { readonly float: number } },
  ) => {
    const batch = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2))
    const [m, n] = [dim(a.shape, transA ? -1 : -2), dim(b.shape, transB ? -2 : -1)]
    return { c: { dtype: a.dtype, shape: [...batch, m, n] } }
  },
  addsTo: ['c'],
})

/** y = r·x·weight [T, D] with r = 1/√(mean x² + ε) [T, 1], of x [T, D] and weight [D]. */
export const rmsNorm = declareKernel({
  name: 'rms-norm',
  inputs: ['x', 'weight'],
  outputs: ['y', 'inverse'],
  results: ({ x }, _: { readonly epsilon: { readonly float: number } }) => ({
    y: x,
    inverse: { dtype: x.dtype, shape: [dim(x.shape, 0), 1] },
  }),
  local: true,
})

/**
 * The gradients of {@link rmsNorm}: dx = r·(dy·weight − r·x·c), where c is the mean over the row of r·x·weight·dy, and
 * dweight = Σ_t r·x·dy, left in P parts [P, D], each of which is the sum over some rows.
 */
export const rmsNormGradient = declareKernel({
  name: 'rms-norm-gradient',
  inputs: ['dy', 'x', 'weight', 'inverse'],
  outputs: ['dx', 'dWeight'],
  results: ({ x }, { parts }: { readonly parts: number }) => ({
    dx: x,
    dWeight: { dtype: x.dtype, shape: [parts, dim(x.shape, 1)] },
  }),
  addsTo: ['dx'],
  local: true,
})

/**
 * The loss of targets int32 [T] under logits [T, V], in nats, and its gradient, softmax(logits) less 1 at the target.
 * The gradient overwrites the logits. `greedy` int32 [T] is 1 if no logit is larger than the logit of the target. A
 * negative target has 0 nats and is not greedy, and nothing is subtracted for it.
 */
export const crossEntropy = declareKernel({
  name: 'cross-entropy',
  inputs: ['logits', 'targets'],
  outputs: ['dLogits', 'nats', 'greedy'],
  results: ({ logits, targets }) => ({
    dLogits: logits,
    nats: { dtype: logits.dtype, shape: targets.shape },
    greedy: { dtype: 'int32', shape: targets.shape },
  }),
  overwrites: true,
  local: true,
})

/** {@link crossEntropy} of the logits x·headᵀ of x [T, D] and head [V, D]. Only their gradient is kept in memory. */
export const linearCrossEntropy = declareKernel({
  name: 'linear-cross-entropy',
  inputs: ['x', 'head', 'targets'],
  outputs: ['dLogits', 'nats', 'greedy'],
  results: ({ x, head, targets }) => ({
    dLogits: { dtype: x.dtype, shape: [dim(x.shape, 0), dim(head.shape, 0)] },
    nats: { dtype: x.dtype, shape: targets.shape },
    greedy: { dtype: 'int32', shape: targets.shape },
  }),
  localInputs: ['targets'],
})

/** x as a factor of products: with bf16 math it is rounded to bfloat16. */
export const round = declareKernel({
  name: 'round',
  inputs: ['x'],
  outputs: ['y'],
  results: ({ x }) => ({ y: x }),
})
