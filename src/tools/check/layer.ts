/** One sparse layer with a router, traced and filled with random numbers, for checks of the router. */

import { add, multiply } from '../../core/graph/ops/elementwise.ts'
import { gradient } from '../../core/graph/ops/gradient.ts'
import { sum } from '../../core/graph/ops/reduction.ts'
import { sizeOf } from '../../core/graph/shape.ts'
import { constant, input, type Tensor, withKernels } from '../../core/graph/tensor.ts'
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import { type ModelConfig, modelSchema } from '../../core/model/config.ts'
import { moeLayer } from '../../core/model/moe.ts'
import { parameterSpecs, SymbolicParameters } from '../../core/model/parameters.ts'
import { randomFor } from '../../core/random.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { compileProgram, type TracedProgram } from './program.ts'

export interface Shape {
  readonly sequences: number
  readonly sequence: number
}

export type Layered = ModelConfig & { readonly moe: MoeConfig }

const WIDTH = 8
export const EXPERTS = 6

/** @param own Name and hash of a router; null: top-k. */
export const layerOf = (
  own: string | null,
  k: number,
  settings: Partial<MoeConfig> = {},
  width = WIDTH,
  experts = EXPERTS,
) =>
  modelSchema.parse({
    layers: 1,
    width,
    heads: 1,
    vocabulary: 64,
    moe: { router: own === null ? 'top-k' : 'own', own, experts, k, hidden: width, capacity: 'none', ...settings },
  }) as Layered

/** The layer of a pass, traced. */
export function trace(
  config: Layered,
  { sequences, sequence }: Shape,
  training: boolean,
  dtype: 'float32' | 'float64',
) {
  const parameters = new SymbolicParameters(parameterSpecs(config), dtype)
  const tokens = sequences * sequence
  const x_TD = input('x', dtype, [tokens, config.width])
  const tokens_T = input('tokens', 'int32', [tokens])
  const pass = { batch: sequences, sequence, training, capacity: training ? ('train' as const) : ('eval' as const) }
  const { y_TX, report } = moeLayer({ config, moe: config.moe, parameters, layer: 0, x_TD, tokens_T, pass })
  return { x_TD, y_TX, report, parameters }
}

/** A scalar to which every output contributes, with a random weight. */
export function weighted(y: Tensor): Tensor {
  const random = randomFor(7, 'check')
  const weights = Float64Array.from({ length: sizeOf(y.shape) }, () => 2 * random.uniform() - 1)
  return sum(multiply(y, constant(weights, y.dtype, y.shape)))
}

/** Random activations, ids and parameters of a layer. */
export function inputsOf(
  config: ModelConfig,
  { sequences, sequence }: Shape,
  seed: number,
): Record<string, Float64Array> {
  const random = randomFor(seed, 'check')
  const tokens = sequences * sequence
  const uniform = (count: number) => Float64Array.from({ length: count }, () => 2 * random.uniform() - 1)
  const inputs: Record<string, Float64Array> = {
    x: uniform(tokens * config.width),
    tokens: Float64Array.from({ length: tokens }, () => random.integer(config.vocabulary)),
  }
  for (const { name, shape, stacked } of parameterSpecs(config)) {
    if (!stacked) inputs[name] = uniform(sizeOf(shape))
    else {
      const all = uniform(sizeOf(shape))
      inputs[name] = all
      const [experts = 1] = shape
      const size = all.length / experts
      for (let e = 0; e < experts; e++) inputs[name.replace('{e}', `${e}`)] = all.subarray(e * size, (e + 1) * size)
    }
  }
  return inputs
}

/** Output and gradients of a layer, in float32, with the kernels of a runtime. */
export async function layerProgram(config: Layered, shape: Shape, runtime: Runtime): Promise<TracedProgram> {
  return withKernels(runtime.kernels, () => {
    const { x_TD, y_TX, report, parameters } = trace(config, shape, true, 'float32')
    const { losses } = report
    const objective = losses ? add(sum(y_TX), add(losses.balance, losses.z)) : sum(y_TX)
    const all = [
      x_TD,
      ...parameters.used.filter(({ spec }) => spec.name.includes('.router')).map(({ tensor }) => tensor),
    ]
    const gradients = gradient(objective, all)
    return compileProgram(runtime, {
      y: y_TX,
      ...Object.fromEntries(gradients.map((g, i) => [`gradient ${i}`, g as Tensor])),
    })
  })
}
