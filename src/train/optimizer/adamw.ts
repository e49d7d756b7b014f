/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2): Adam with decoupled weight decay.
 *
 *   m ← β₁m + (1−β₁)g      v ← β₂v + (1−β₂)g²
 *   p ← (1 − lr·decay)·p − lr·m̂ / (√v̂ + ε),   m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
 *
 * Each chain ends by writing the array it read, in place: nothing reads the old value after it.
 */
import { add, divide, input, multiply, sqrt, square, subtract } from '../../graph/index.ts'
import type { Runtime } from '../../runtime/index.ts'
import type { TrainConfig } from '../config.ts'
import { CHUNK, type ParameterStore } from '../store.ts'
import { ChunkedProgram } from './chunked.ts'
import type { Optimizer } from './contract.ts'

/** Regions of the store that AdamW needs besides parameters and gradients. */
export const adamwMoments = 2

export async function adamw(
  runtime: Runtime,
  store: ParameterStore,
  config: TrainConfig['optimizer'],
): Promise<Optimizer> {
  const { beta1, beta2, epsilon, weightDecay } = config
  const scalar = () => new Float32Array(1)
  /** Coefficients that change from step to step; the gradient's scale is folded into the first two. */
  const settings = { first: scalar(), second: scalar(), size: scalar(), correction: scalar() }
  const keep = { decayed: scalar(), whole: scalar() }

  const flat = (name: string) => input(name, 'float32', [CHUNK])
  const number = (name: string) => input(name, 'float32', [])
  const [p, g, m, v] = [flat('p'), flat('g'), flat('m'), flat('v')] as const
  const newM = add(multiply(m, beta1), multiply(g, number('first')))
  const newV = add(multiply(v, beta2), multiply(square(g), number('second')))
  const direction = divide(newM, add(multiply(sqrt(newV), number('correction')), epsilon))
  const newP = subtract(multiply(p, number('keep')), multiply(direction, number('size')))

  const buffers = store.chunks().map(({ regions, decay }) => {
    const [p, g, m, v] = regions as [Float32Array, Float32Array, Float32Array, Float32Array]
    return { p, g, m, v, newP: p, newM: m, newV: v, keep: decay ? keep.decayed : keep.whole, ...settings }
  })
  const program = await ChunkedProgram.compile(runtime, { newP, newM, newV }, buffers)

  return {
    async update({ step, learningRate, gradientScale }) {
      settings.first[0] = (1 - beta1) * gradientScale
      settings.second[0] = (1 - beta2) * gradientScale ** 2
      settings.size[0] = learningRate / (1 - beta1 ** step)
      settings.correction[0] = 1 / Math.sqrt(1 - beta2 ** step)
      keep.decayed[0] = 1 - learningRate * weightDecay
      keep.whole[0] = 1
      await program.run()
    },
    stateTensors: () => [...store.momentTensors(0, '.exp_avg'), ...store.momentTensors(1, '.exp_avg_sq')],
    profile: () => program.profile(),
    release: () => program.release(),
  }
}
