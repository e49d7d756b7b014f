import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { compileProgram } from '../../../tools/check/program.ts'
import { parseInput } from '../../config/problems.ts'
import { runSchema } from '../../config/run-config.ts'
import { add, multiply, square } from '../../graph/ops/elementwise.ts'
import { gradient } from '../../graph/ops/gradient.ts'
import { matmul } from '../../graph/ops/matmul.ts'
import { mean, sum } from '../../graph/ops/reduction.ts'
import { reshape } from '../../graph/ops/shape.ts'
import { input, type Tensor } from '../../graph/tensor.ts'
import { modelSchema } from '../config.ts'
import { describeModel } from '../describe.ts'
import { parameterSpecs, SymbolicParameters } from '../parameters.ts'
import { losses } from '../transformer.ts'
import { type OwnLayer, ownLayers } from './layer.ts'

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ threads: 1 })
})
afterAll(() => runtime.close())

let count = 0
/** Registers a layer, and returns its name in configurations. */
function registered(layer: Omit<OwnLayer, 'name'>): string {
  const id = `test@${String(count++).padStart(16, '0')}`
  ownLayers.register(id, { name: 'test', ...layer })
  return id
}

/** y = (x·A)·B, where A is [D, R] and R is a setting. */
const lowRank: Omit<OwnLayer, 'name'> = {
  settings: { rank: 2 },
  parameters: ({ width, settings }) => ({
    a: { shape: [width, Number(settings.rank)], init: 'normal' },
    b: { shape: [Number(settings.rank), width], init: 'branch' },
    scale: { shape: [width], init: 'ones' },
  }),
  apply: ({ x_TD, weights }) =>
    multiply(matmul(matmul(x_TD, weights.a as Tensor), weights.b as Tensor), weights.scale as Tensor),
}

const size = { vocabulary: 16, layers: 2, width: 8, heads: 2, sequence: 4, hidden: 12, moe: null }

test('its parameters are those of the model, where matrices decay and the rows of a matrix are its fan-in', () => {
  const own = registered(lowRank)
  const config = modelSchema.parse({ ...size, layer: { own, every: 2, settings: { rank: 3 } } })
  const specs = parameterSpecs(config).filter(({ name }) => /^layers\.\d\.(own|ffn)/.test(name))
  expect(specs.map(({ name, shape, init, decay }) => [name, shape, init, decay])).toEqual([
    ['layers.0.ffn.norm', [8], 'ones', false],
    ['layers.0.ffn.up', [8, 12], { fanIn: 8, role: 'matrix' }, true],
    ['layers.0.ffn.down', [12, 8], { fanIn: 12, role: 'branch' }, true],
    ['layers.1.own.norm', [8], 'ones', false],
    ['layers.1.own.a', [8, 3], { fanIn: 8, role: 'matrix' }, true],
    ['layers.1.own.b', [3, 8], { fanIn: 3, role: 'branch' }, true],
    ['layers.1.own.scale', [8], 'ones', false],
  ])
})

test('the operations of a layer are its products, forward and twice backward', () => {
  const own = registered(lowRank)
  const flopsOf = (layer: object | null) => describeModel(modelSchema.parse({ ...size, layer })).flopsPerToken
  const dense = 6 * 2 * 8 * 12
  expect(flopsOf({ own, every: 2 }) - flopsOf(null)).toBe(6 * 2 * 8 * 2 - dense)
  expect(flopsOf({ own, settings: { rank: 5 } }) - flopsOf(null)).toBe(2 * (6 * 2 * 8 * 5 - dense))
  // A product over the S = 4 tokens of a sequence: 2·S²·D forward in all, so 6·S·D for each token. A sum is no product.
  const mixing = registered({
    sees: 'batch',
    apply: ({ x_TD, sequence }) => {
      const x_BSD = reshape(
        x_TD,
        [-1, sequence, 8].map((n) => (n < 0 ? (x_TD.shape[0] as number) / sequence : n)),
      )
      const scores = matmul(x_BSD, x_BSD, { transposeB: true })
      return add(reshape(matmul(scores, x_BSD), x_TD.shape), sum(x_TD, { axes: [0], keepDims: true }))
    },
  })
  expect(flopsOf({ own: mixing }) - flopsOf(null)).toBe(2 * (2 * 6 * 4 * 8 - dense))
})

test('its loss is a part of the objective, with its gradient, and not of the loss of the text', async () => {
  const coefficient = 0.25
  const apply: OwnLayer['apply'] = ({ x_TD }) => ({ y_TD: x_TD, loss: multiply(mean(square(x_TD)), coefficient) })
  const plain: OwnLayer['apply'] = ({ x_TD }) => x_TD
  const run = async (layer: OwnLayer['apply']) => {
    const config = modelSchema.parse({ ...size, layers: 1, layer: { own: registered({ apply: layer }) } })
    const specs = parameterSpecs(config)
    const parameters = new SymbolicParameters(specs, 'float64')
    const [tokens, targets] = [input('tokens', 'int32', [4]), input('targets', 'int32', [4])]
    const pass = { batch: 1, sequence: 4, training: true, capacity: 'train' as const }
    const { loss, objective } = losses(config, parameters, tokens, targets, pass)
    const [dNorm] = gradient(objective, [parameters.get('layers.0.own.norm')])
    const program = await compileProgram(runtime, { loss, objective, dNorm: dNorm as Tensor })
    const values = specs.map(({ name, shape }, s) => {
      const floats = shape.reduce((product, n) => product * n, 1)
      return [name, Float64Array.from({ length: floats }, (_, i) => (name.includes('norm') ? 1 : Math.sin(i + s)))]
    })
    const at = async (scale: number) => {
      const named = Object.fromEntries(values) as Record<string, Float64Array>
      named['layers.0.own.norm'] = new Float64Array(8).fill(scale)
      const found = await program.run({ ...named, tokens: [1, 2, 3, 4], targets: [2, 3, 4, 5] })
      return { loss: Number(found.loss?.[0]), objective: Number(found.objective?.[0]), dNorm: found.dNorm }
    }
    const result = { one: await at(1), above: await at(1 + 1e-6), below: await at(1 - 1e-6) }
    program.release()
    return result
  }
  const [with_, without] = [await run(apply), await run(plain)]
  expect(with_.one.loss).toBe(without.one.loss)
  expect(without.one.objective).toBe(without.one.loss)
  // The mean square of a normed row is 1, up to epsilon.
  expect(with_.one.objective - with_.one.loss).toBeCloseTo(coefficient, 3)
  const total = Array.from(with_.one.dNorm ?? [], Number).reduce((a, b) => a + b, 0)
  expect(total).toBeCloseTo((with_.above.objective - with_.below.objective) / 2e-6, 6)
})

describe('a layer is refused by name', () => {
  const trace = (layer: Omit<OwnLayer, 'name'>) => {
    const config = modelSchema.parse({ ...size, layer: { own: registered(layer) } })
    return describeModel(config)
  }
  test.each<[string, () => unknown, RegExp]>([
    [
      'another shape',
      () => reshape(input('z', 'float32', [4]), [4, 1]),
      /apply returned y_TD as float32 \[4,1\] \(exp/,
    ],
    [
      'another dtype',
      () => input('z', 'float64', [4, 8]),
      /y_TD as float64 \[4,8\] \(expected a tensor float32 \[4,8\]\)/,
    ],
    ['nothing', () => undefined, /y_TD as undefined/],
    [
      'a loss that is no scalar',
      () => ({ y_TD: input('z', 'float32', [4, 8]), loss: input('l', 'float32', [2]) }),
      /loss as float32 \[2\]/,
    ],
    [
      'an error',
      () => {
        throw new Error('my own fault')
      },
      /^layer test: apply: my own fault/,
    ],
  ])('%s', (_, apply, message) => {
    expect(() => trace({ apply: apply as OwnLayer['apply'] })).toThrow(message)
  })

  test('a parameter that has the name of the norm before it', () => {
    const parameters = () => ({ norm: { shape: [8], init: 'ones' as const } })
    expect(() => trace({ parameters, apply: ({ x_TD }) => x_TD })).toThrow(/invalid parameter "norm"/)
  })
})

describe('a configuration is refused', () => {
  const own = registered(lowRank)
  const problemsOf = (model: object) =>
    runSchema
      .safeParse({ model: { ...size, vocabulary: 300, ...model } })
      .error?.issues.map(({ path, message }) => [path.join('.'), message])
  test('if its kind is no path of a file', () => {
    const config = { model: { ...size, vocabulary: 300, layer: { kind: 'soft' } } }
    expect(() => parseInput(runSchema, config, 'configuration')).toThrow(
      'invalid model.layer.kind: "soft" (expected a file such as ./my-layer.ts)',
    )
  })
  test('if a layer would be sparse too', () => {
    expect(problemsOf({ moe: { every: 2 }, layer: { own, every: 2 } })).toEqual([
      ['model.layer.every', expect.stringMatching(/layer 1 is one/)],
    ])
    expect(problemsOf({ moe: { every: 2 }, layer: { own, every: 2, from: 1 } })).toEqual([
      ['model.layer.from', 'must be at most layers − every = 0, or no layer is your own'],
    ])
    expect(problemsOf({ layers: 3, moe: { every: 2 }, layer: { own, every: 2, from: 1 } })).toBeUndefined()
  })
  test('if the layer refuses its settings, and not if the layer is not loaded', () => {
    expect(problemsOf({ layer: { own, settings: { rank: -1 } } })).toEqual([
      ['model.layer.settings', expect.stringMatching(/^layer test: parameter a has the shape \[8,-1\]/)],
    ])
    expect(problemsOf({ layer: { own, settings: { rnk: 1 } } })).toEqual([
      ['model.layer.settings', 'unknown field model.layer.settings.rnk: 1 (accepted: rank; did you mean "rank"?)'],
    ])
    expect(problemsOf({ layer: { own, settings: { rank: 'two' } } })?.[0]?.[1]).toMatch(/expected a number, such as 2/)
    expect(problemsOf({ layer: { own: 'strange@0123456789abcdef', settings: { rank: -1 } } })).toBeUndefined()
    expect(problemsOf({ layer: { own, settings: { rank: { of: 2 } } } })?.[0]?.[0]).toBe('model.layer.settings.rank')
  })
})
