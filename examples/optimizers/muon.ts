/**
 * Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the momentum of a matrix is made nearly orthogonal, so
 * that all its directions move alike. Five Newton–Schulz iterations of a polynomial bring all singular values near 1.
 * Vectors, embeddings, routers and the head are updated by AdamW, as its authors advise. The update of a matrix has the
 * factor 0.2·√(largest side), so that its root mean square is that of AdamW, and one learning rate serves both (Liu et
 * al. 2025, arXiv 2502.16982, eq. 4).
 */
import type { OptimizerInput, OptimizerResult, OwnOptimizer } from 'choir'
import { add, divide, exp, matmul, multiply, sqrt, square, subtract, sum, type Tensor, transpose } from 'choir/graph'

const muon: Omit<OwnOptimizer, 'name'> = {
  settings: { momentum: 0.95, nesterov: true, iterations: 5 },
  state: ({ role, shape }): Record<string, readonly number[]> =>
    role === 'matrix' ? { momentum: shape } : { first: shape, second: shape },
  update: (input) => (input.role === 'matrix' ? orthogonal(input) : adamw(input)),
}

function orthogonal({ parameter, gradient, state, rate, weightDecay, settings, shape }: OptimizerInput): OptimizerResult {
  const beta = Number(settings.momentum)
  const momentum = add(multiply(state.momentum as Tensor, beta), gradient)
  const direction = settings.nesterov ? add(gradient, multiply(momentum, beta)) : momentum
  const size = 0.2 * Math.sqrt(Math.max(...shape.slice(-2)))
  const change = multiply(newtonSchulz(direction, shape, Number(settings.iterations)), size)
  return { parameter: moved(parameter, change, rate, weightDecay), state: { momentum } }
}

/**
 * X ← aX + (bA + cA²)X with A = XXᵀ, from X / ‖X‖. It works on the side with fewer rows. In a stack of matrices, such as
 * the experts of a layer of one's own, each matrix is by itself.
 */
function newtonSchulz(matrix: Tensor, shape: readonly number[], iterations: number): Tensor {
  const [a, b, c] = [3.4445, -4.775, 2.0315]
  const [rows = 1, columns = 1] = shape.slice(-2)
  const axes = shape.map((_, axis) => axis)
  const sides = axes.slice(-2)
  const swapped = [...axes.slice(0, -2), ...sides.toReversed()]
  const turned = rows > columns ? transpose(matrix, swapped) : matrix
  let x = divide(turned, add(sqrt(sum(square(turned), { axes: sides, keepDims: true })), 1e-7))
  for (let i = 0; i < iterations; i++) {
    const product = matmul(x, x, { transposeB: true })
    const polynomial = add(multiply(product, b), matmul(product, product, { alpha: c }))
    x = add(multiply(x, a), matmul(polynomial, x))
  }
  return rows > columns ? transpose(x, swapped) : x
}

function adamw({ gradient, state, rate, step, beta1, beta2, epsilon, ...rest }: OptimizerInput): OptimizerResult {
  const first = add(multiply(state.first as Tensor, beta1), multiply(gradient, 1 - beta1))
  const second = add(multiply(state.second as Tensor, beta2), multiply(square(gradient), 1 - beta2))
  const corrected = (moment: Tensor, beta: number) => divide(moment, subtract(1, exp(multiply(step, Math.log(beta)))))
  const change = divide(corrected(first, beta1), add(sqrt(corrected(second, beta2)), epsilon))
  return { parameter: moved(rest.parameter, change, rate, rest.weightDecay), state: { first, second } }
}

/** (1 − rate · weightDecay) · parameter − rate · change */
const moved = (parameter: Tensor, change: Tensor, rate: Tensor, weightDecay: number): Tensor =>
  subtract(parameter, multiply(add(change, multiply(parameter, weightDecay)), rate))

export default muon
