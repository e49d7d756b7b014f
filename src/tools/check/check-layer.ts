/**
 * Checks of a layer of the user's own, on random activations and parameters: its outputs, and mistakes that a loss curve
 * does not show, such as a wrong gradient or an output that depends on later tokens.
 */

import { add } from '../../core/graph/ops/elementwise.ts'
import { gradient } from '../../core/graph/ops/gradient.ts'
import { sum } from '../../core/graph/ops/reduction.ts'
import { input, type Tensor, withKernels } from '../../core/graph/tensor.ts'
import { type ModelConfig, modelSchema } from '../../core/model/config.ts'
import { ffn, weightsOf } from '../../core/model/ffn.ts'
import { type OwnLayer, ownLayers } from '../../core/model/own/layer.ts'
import { ownLayerName, parameterSpecs, SymbolicParameters } from '../../core/model/parameters.ts'
import { ownLayer } from '../../core/model/transformer.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Check, PluginCheck } from './check.ts'
import type { Runtimes } from './check-router.ts'
import { checkDifferences, traceHeld, withoutGradient } from './differences.ts'
import { inputsOf, type Shape, weighted } from './layer.ts'
import { compileProgram, numbers, type TracedProgram } from './program.ts'
import { checkRepeated, timeRatio } from './side-by-side.ts'
import { checkSight } from './sight.ts'

const SEEDS = [1, 2, 3, 4]
const SHAPE: Shape = { sequences: 3, sequence: 8 }
const WIDTH = 8

/**
 * Checks a layer with the settings that it has by default.
 * @param own Name and hash of a registered layer.
 * @throws UsageError if it returns something else than an output
 */
export async function checkLayer(own: string, { one, two }: Runtimes): Promise<PluginCheck> {
  const { sees } = ownLayers.get(own)
  const checks = [
    await checkOutputs(own, one),
    await checkGradients(own, one),
    await checkOutputsSee(own, one, sees),
    await checkBits(own, one, two),
  ]
  return { part: 'layer', id: own, checks, time: { over: 'a dense network', ratio: await timeOverDense(own, two) } }
}

/** One layer of a model. @param own Name and hash of a layer; null: a dense network */
const layerOf = (own: string | null, width = WIDTH, hidden = 2 * WIDTH): ModelConfig =>
  modelSchema.parse({
    ...{ layers: 1, width, hidden, heads: 1, vocabulary: 64, moe: null },
    layer: own === null ? null : { own },
  })

function trace(config: ModelConfig, { sequences, sequence }: Shape, training: boolean, dtype: 'float32' | 'float64') {
  const parameters = new SymbolicParameters(parameterSpecs(config), dtype)
  const x_TD = input('x', dtype, [sequences * sequence, config.width])
  const tokens_T = input('tokens', 'int32', [sequences * sequence])
  const output = config.layer
    ? ownLayer(config, parameters, 0, x_TD, tokens_T, { sequence, training })
    : {
        y_TD: ffn(
          x_TD,
          weightsOf(config, (matrix) => parameters.get(`layers.0.ffn.${matrix}`)),
        ),
      }
  return { x_TD, ...output, parameters }
}

type Traced = ReturnType<typeof trace>

/** The sum of the output, or of a weighted output, and of the layer's loss. */
const objectiveOf = ({ y_TD, loss }: Traced, total: (y: Tensor) => Tensor): Tensor =>
  loss ? add(total(y_TD), loss) : total(y_TD)

async function checkOutputs(own: string, runtime: Runtime): Promise<Check> {
  const name = 'the output has the shape of the activations, and is finite'
  const config = layerOf(own)
  for (const training of [true, false]) {
    const { y_TD, loss } = trace(config, SHAPE, training, 'float32')
    const program = await compileProgram(runtime, { y: y_TD, ...(loss && { loss }) })
    try {
      for (const seed of SEEDS) {
        const found = await program.run(inputsOf(config, SHAPE, seed))
        for (const [of, values] of Object.entries(found)) {
          const odd = numbers(values).findIndex((value) => !Number.isFinite(value))
          if (odd >= 0) return { name, passed: false, found: `${of}[${odd}] is ${values[odd]}` }
        }
      }
    } finally {
      program.release()
    }
  }
  return { name, passed: true, found: `${SEEDS.length} random inputs, in training and evaluation` }
}

async function checkGradients(own: string, runtime: Runtime): Promise<Check> {
  const name = 'gradients agree with finite differences, and every parameter has one'
  const shape = { sequences: 2, sequence: 4 }
  // Every element takes two passes, so the matrices are small.
  const config = layerOf(own, WIDTH / 2, WIDTH)
  const { traced, inputs } = await traceHeld(runtime, inputsOf(config, shape, 1), () =>
    trace(config, shape, true, 'float64'),
  )
  const { x_TD, parameters } = traced
  const prefix = `${ownLayerName(0)}.`
  const ofLayer = parameters.used.map(({ spec, tensor }) => ({ name: spec.name, tensor }))
  const objective = objectiveOf(traced, weighted)
  const unused = parameterSpecs(config).filter(
    ({ name }) =>
      name.startsWith(prefix) && name !== `${prefix}norm` && !ofLayer.some((parameter) => parameter.name === name),
  )
  const unreached = await withoutGradient(runtime, { objective, of: ofLayer, inputs })
  const [without] = [...unused.map((spec) => spec.name), ...unreached]
  if (without !== undefined)
    return { name, passed: false, found: `no gradient reaches the parameter ${without.slice(prefix.length)}` }
  return checkDifferences(name, runtime, { objective, of: [{ name: 'x', tensor: x_TD }, ...ofLayer], inputs })
}

async function checkOutputsSee(own: string, runtime: Runtime, declared: OwnLayer['sees']): Promise<Check> {
  const sees = declared ?? 'token'
  const config = layerOf(own)
  return checkSight(runtime, {
    name: `the output of a token depends only on what the layer sees ("${sees}")`,
    sees,
    isDeclared: declared !== undefined,
    shape: SHAPE,
    config,
    trace: (shape, training) => ({ y: trace(config, shape, training, 'float32').y_TD }),
    inputs: (shape) => SEEDS.slice(0, 2).map((seed) => inputsOf(config, shape, seed)),
  })
}

/** Output and gradients, in float32, with the kernels of a runtime. */
const programOf = (config: ModelConfig, shape: Shape, runtime: Runtime): Promise<TracedProgram> =>
  withKernels(runtime.kernels, () => {
    const traced = trace(config, shape, true, 'float32')
    const all = [traced.x_TD, ...traced.parameters.used.map(({ tensor }) => tensor)]
    const gradients = gradient(objectiveOf(traced, sum), all)
    return compileProgram(runtime, {
      y: traced.y_TD,
      ...Object.fromEntries(gradients.map((tensor, i) => [`gradient ${i}`, tensor])),
    })
  })

async function checkBits(own: string, one: Runtime, two: Runtime): Promise<Check> {
  const shape = { sequences: 4, sequence: 32 }
  const config = layerOf(own, 32, 64)
  return checkRepeated(
    [one, two],
    inputsOf(config, shape, 1),
    (runtime) => programOf(config, shape, runtime),
    `output and gradients of ${shape.sequences * shape.sequence} tokens`,
  )
}

/** Time of the layer forward and backward, over that of a dense network of the same hidden width. */
async function timeOverDense(own: string, runtime: Runtime): Promise<number> {
  const shape = { sequences: 8, sequence: 128 }
  const layer = async (id: string | null) => {
    const config = layerOf(id, 128, 512)
    return { program: await programOf(config, shape, runtime), inputs: inputsOf(config, shape, 1) }
  }
  return timeRatio([await layer(own), await layer(null)])
}
