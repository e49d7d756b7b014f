/**
 * Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2): steps by the sign of a momentum. Its only state is the
 * momentum, half of AdamW's. The paper trains with a learning rate 3 to 10 times smaller than that of AdamW, a weight
 * decay as much larger, and β₂ = 0.99 (`train.optimizer.beta2=0.99`).
 */
import type { OwnOptimizer } from 'choir'
import { add, cast, less, multiply, subtract, type Tensor } from 'choir/graph'

/** −1, 0 or 1. */
const sign = (x: Tensor) => subtract(cast(less(0, x), 'float32'), cast(less(x, 0), 'float32'))

/** β·a + (1 − β)·b */
const mix = (beta: number, a: Tensor, b: Tensor) => add(multiply(a, beta), multiply(b, 1 - beta))

const lion: Omit<OwnOptimizer, 'name'> = {
  state: ({ shape }) => ({ momentum: shape }),
  update({ parameter, gradient, state, rate, weightDecay, beta1, beta2 }) {
    const momentum = state.momentum as Tensor
    const direction = add(sign(mix(beta1, momentum, gradient)), multiply(parameter, weightDecay))
    return {
      parameter: subtract(parameter, multiply(direction, rate)),
      state: { momentum: mix(beta2, momentum, gradient) },
    }
  },
}

export default lion
