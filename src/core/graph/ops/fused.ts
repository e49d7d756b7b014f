/**
 * Ops whose gradient is written by hand, because the derivative of the whole op is cheaper or numerically
 * safer than the chain of its parts. All of them work along the last axis.
 */
import { emitKernel, hasKernel } from '../kernels/declaration.ts'
import * as kernels from '../kernels/products.ts'
import { dim } from '../shape.ts'
import { constant, defineOp, emit, emitMany, kernelParts, type Tensor } from '../tensor.ts'
import { add, emitErf, exp, multiply, negate, sigmoid, square, subtract } from './elementwise.ts'
import { columnSums, rowSums, sum } from './reduction.ts'
import { reshape } from './shape.ts'

/** exp(x) / Σ exp(x), safe for any finite x. */
export const softmax: (x: Tensor) => Tensor = defineOp('softmax', 'fused', (x: Tensor) => {
  const y = emit('Softmax', [x], { shape: x.shape, attributes: { axis: -1 } })
  return {
    result: y,
    inputs: [x],
    gradient: (dy) => [dy && multiply(y, subtract(dy, rowSums(multiply(dy, y))))],
  }
})

/** log of softmax, safe for any finite x. */
export const logSoftmax: (x: Tensor) => Tensor = defineOp('log-softmax', 'fused', (x: Tensor) => {
  const y = emit('LogSoftmax', [x], { shape: x.shape, attributes: { axis: -1 } })
  return {
    result: y,
    inputs: [x],
    gradient: (dy) => [dy && subtract(dy, multiply(exp(y), rowSums(dy)))],
  }
})

/** log Σ exp(x) over the last axis, which is removed. The maximum x is subtracted before exp. */
export const logSumExp: (x: Tensor) => Tensor = defineOp('log-sum-exp', 'fused', (x: Tensor) => {
  const outer = x.shape.slice(0, -1)
  const axis = constant([-1], 'int64')
  const column = [...outer, 1]
  const maximum = emit('ReduceMax', [x, axis], { shape: column, attributes: { keepdims: 1 } })
  const powers = emit('Exp', [emit('Sub', [x, maximum], { shape: x.shape })], { shape: x.shape })
  const total = emit('ReduceSum', [powers, axis], { shape: column, attributes: { keepdims: 1 } })
  const y = emit('Add', [emit('Log', [total], { shape: column }), maximum], { shape: column })
  return {
    result: reshape(y, outer),
    inputs: [x],
    gradient: (dy) => [dy && multiply(emit('Div', [powers, total], { shape: x.shape }), reshape(dy, column))],
  }
})

/**
 * Root-mean-square norm, x / √(mean x² + ε) · weight (Zhang and Sennrich 2019). x [T, D], weight [D].
 *
 * With r = 1/√(mean x² + ε), q = dy ∘ x and c = mean over the row of q ∘ weight, the gradients are
 * dx = r·(dy ∘ weight) − r³·c·x and dweight = Σ_t r·q. Both use the same q, and neither needs the normed x.
 */
export const rmsNorm: (x: Tensor, weight: Tensor, epsilon: number) => Tensor = defineOp(
  'rms-norm',
  'fused',
  (x: Tensor, weight: Tensor, epsilon: number) => {
    const width = dim(x.shape, -1)
    const kernel = hasKernel(kernels.rmsNorm, x.dtype) && x.shape.length === 2
    const [y, inverse] = kernel
      ? rmsNormKernel(x, weight, epsilon)
      : x.dtype === 'float32'
        ? rmsNormInOnePass(x, weight, epsilon)
        : rmsNormByParts(x, weight, epsilon)
    return {
      result: y,
      inputs: [x, weight],
      gradient: (dy) => {
        if (!dy) return []
        if (kernel) return rmsNormKernelGradient(dy, x, weight, inverse)
        const product = multiply(dy, x)
        const column = reshape(multiply(weight, 1 / width), [width, 1])
        const means = emit('MatMul', [product, column], { shape: inverse.shape })
        const cubed = multiply(multiply(square(inverse), inverse), means)
        const dWeight = emit('MatMul', [reshape(inverse, [1, dim(x.shape, 0)]), product], { shape: [1, width] })
        return [subtract(multiply(multiply(dy, weight), inverse), multiply(x, cubed)), reshape(dWeight, weight.shape)]
      },
    }
  },
)

type Normed = readonly [y: Tensor, inverse: Tensor]

function rmsNormKernel(x: Tensor, weight: Tensor, epsilon: number): Normed {
  const { y, inverse } = emitKernel(kernels.rmsNorm, { x, weight }, { epsilon: { float: epsilon } })
  return [y, inverse]
}

/** Fewest rows for which a sum over rows has a further part: software GPUs take long for each part. */
const ROWS_OF_PART = 16

function rmsNormKernelGradient(dy: Tensor, x: Tensor, weight: Tensor, inverse: Tensor): [dx: Tensor, dWeight: Tensor] {
  const parts = Math.max(1, Math.min(kernelParts(), Math.ceil(dim(x.shape, 0) / ROWS_OF_PART)))
  const { dx, dWeight } = emitKernel(kernels.rmsNormGradient, { dy, x, weight, inverse }, { parts })
  return [dx, sum(dWeight, { axes: [0] })]
}

/** ONNX Runtime's fused kernel; its second result is 1/√(mean x² + ε) [T, 1]. */
function rmsNormInOnePass(x: Tensor, weight: Tensor, epsilon: number): Normed {
  const [y, inverse] = emitMany(
    'SimplifiedLayerNormalization',
    [x, weight],
    [
      { dtype: x.dtype, shape: x.shape },
      { dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] },
    ],
    { attributes: { axis: -1, epsilon: { float: epsilon } } },
  ) as [Tensor, Tensor]
  return [y, inverse]
}

function rmsNormByParts(x: Tensor, weight: Tensor, epsilon: number): Normed {
  const { value, inverse } = normalise(x, epsilon)
  return [multiply(value, weight), inverse]
}

/**
 * Layer norm, (x − mean) / √(variance + ε) · weight + bias (Ba et al. 2016). x [T, D], weight and bias [D].
 * A constant row gives 0 / √ε, so nothing is divided by zero, here or in the gradient.
 */
export const layerNorm: (x: Tensor, weight: Tensor, bias: Tensor, epsilon: number) => Tensor = defineOp(
  'layer-norm',
  'fused',
  (x: Tensor, weight: Tensor, bias: Tensor, epsilon: number) => {
    const perColumn = 1 / dim(x.shape, -1)
    const normalised = normalise(subtract(x, rowSums(x, perColumn)), epsilon)
    return {
      result: add(multiply(normalised.value, weight), bias),
      inputs: [x, weight, bias],
      gradient: (dy) => {
        if (!dy) return []
        const dNormalised = multiply(dy, weight)
        const projection = multiply(normalised.value, rowSums(multiply(dNormalised, normalised.value), perColumn))
        const centred = subtract(subtract(dNormalised, rowSums(dNormalised, perColumn)), projection)
        return [multiply(normalised.inverse, centred), columnSums(multiply(dy, normalised.value)), columnSums(dy)]
      },
    }
  },
)

/** Rows divided by their root mean square; row sums are matmuls with ones. */
function normalise(x: Tensor, epsilon: number): { value: Tensor; inverse: Tensor } {
  const meanSquare = rowSums(square(x), 1 / dim(x.shape, -1))
  const root = emit('Sqrt', [add(meanSquare, epsilon)], { shape: meanSquare.shape })
  const inverse = emit('Reciprocal', [root], { shape: root.shape })
  return { value: multiply(x, inverse), inverse }
}

/**
 * s · (1 + erf s): the exact GELU without its constants, gelu(x) = erfGate(x/√2) / √2. The matmuls
 * before and after a GELU apply the two factors as their alpha, which saves two passes over the widest
 * activations of the model.
 */
export const erfGate: (s: Tensor) => Tensor = defineOp('erf-gate', 'fused', (s: Tensor) => {
  const gate = add(emitErf(s), 1)
  return {
    result: multiply(s, gate),
    inputs: [s],
    gradient: (dy) => {
      if (!dy) return []
      // 2/√π · e^(−s²), with the factor inside the exponent to save a pass.
      const gauss = exp(subtract(Math.log(2 / Math.sqrt(Math.PI)), square(s)))
      return [multiply(dy, add(gate, multiply(gauss, s)))]
    },
  }
})

/** Exact GELU, x·Φ(x) (Hendrycks and Gimpel 2016). */
export const gelu = (x: Tensor): Tensor => multiply(erfGate(multiply(x, Math.SQRT1_2)), Math.SQRT1_2)

/** x · sigmoid(x). */
export const silu: (x: Tensor) => Tensor = defineOp('silu', 'fused', (x: Tensor) => {
  const gate = sigmoid(x)
  return {
    result: multiply(x, gate),
    inputs: [x],
    gradient: (dy) => [dy && multiply(dy, multiply(gate, add(multiply(x, subtract(1, gate)), 1)))],
  }
})

/**
 * Rotates each pair (x[i], x[i + d/2]) of a head vector by its angle (RoFormer, eq. 34; half-split as in
 * GPT-NeoX). x [B, H, S, d]; cos and sin of the angles [S, d/2]. The gradient is the rotation back.
 */
export const rotate: (x: Tensor, cos: Tensor, sin: Tensor) => Tensor = defineOp(
  'rotate',
  'fused',
  (x: Tensor, cos: Tensor, sin: Tensor) => ({
    result: x.dtype === 'float32' ? rotateInOnePass(x, cos, sin) : rotateByParts(x, cos, sin),
    inputs: [x],
    gradient: (dy) => [dy && rotate(dy, cos, negate(sin))],
  }),
)

const rotateInOnePass = (x: Tensor, cos: Tensor, sin: Tensor): Tensor =>
  emit('RotaryEmbedding', [x, constant([0], 'int64'), cos, sin], { domain: 'com.microsoft', shape: x.shape })

function rotateByParts(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  const half = dim(x.shape, -1) / 2
  const axis = x.shape.length - 1
  const part = (start: number) =>
    emit('Slice', [x, ...[start, start + half, axis].map((value) => constant([value], 'int64'))], {
      shape: [...x.shape.slice(0, -1), half],
    })
  const [first, second] = [part(0), part(half)]
  const rotated = [
    subtract(multiply(first, cos), multiply(second, sin)),
    add(multiply(second, cos), multiply(first, sin)),
  ]
  return emit('Concat', rotated, { shape: x.shape, attributes: { axis } })
}
