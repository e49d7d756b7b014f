import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../../core/config/run-config.ts'
import { anyVocabulary } from '../../../core/config/testing/any-vocabulary.ts'
import { add, cast, divide, exp, less, multiply, sqrt, square, subtract } from '../../../core/graph/ops/elementwise.ts'
import { input, type Tensor } from '../../../core/graph/tensor.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { openRuntime } from '../../../node/run/session.ts'
import { initialize, initialScales } from '../store/initialize.ts'
import { createStore, type StepOutcome, Trainer } from '../trainer.ts'
import { type OptimizerInput, type OwnOptimizer, ownOptimizers } from './own.ts'
import { checkOptimizer } from './own-rule.ts'
import { ownUpdate } from './own-update.ts'

let count = 0
/** Makes an optimizer known, and returns the settings that name it. */
function own(optimizer: Omit<OwnOptimizer, 'name'>) {
  const id = `test@${String(count++).padStart(16, '0')}`
  ownOptimizers.register(id, { name: 'test', ...optimizer })
  return { kind: 'own', own: id } as const
}

type Train = NonNullable<RunInput['train']>

const configOf = (train: Train, threads = 1): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: {
      ...{ vocabulary: 64, layers: 2, width: 16, heads: 2, sequence: 16, hidden: 32, tied: false },
      moe: { experts: 4, hidden: 24, from: 1, k: 2 },
    },
    train: { steps: 1000, batch: 4, ...train, schedule: { learningRate: 1e-2, warmup: 3, ...train.schedule } },
    runtime: { threads },
  })

/** Counting by 5 modulo 64, each row from another number. */
const batch = {
  tokens: Int32Array.from({ length: 64 }, (_, i) => ((i >> 4) * 11 + (i & 15) * 5) % 64),
  targets: Int32Array.from({ length: 64 }, (_, i) => ((i >> 4) * 11 + (i & 15) * 5 + 5) % 64),
}

let runtime: Runtime
beforeAll(async () => {
  runtime = await openRuntime(configOf({}))
})
afterAll(() => runtime.close())

async function withTrainer<T>(
  train: Train,
  body: (trainer: Trainer, store: ReturnType<typeof createStore>) => Promise<T>,
): Promise<T> {
  const config = configOf(train)
  const store = createStore(runtime, config)
  await initialize(store, config.train.seed, initialScales(config))
  const trainer = await Trainer.compile(runtime, config, store)
  try {
    return await body(trainer, store)
  } finally {
    await trainer.release()
  }
}

const losses = (train: Train, steps: number): Promise<number[]> =>
  withTrainer(train, async (trainer) => {
    const all: number[] = []
    for (let step = 1; step <= steps; step++) all.push((await trainer.step(step, batch)).loss)
    return all
  })

const mix = (beta: number, a: Tensor, b: Tensor) => add(multiply(a, beta), multiply(b, 1 - beta))

/** AdamW (Loshchilov and Hutter 2019, algorithm 2). */
const adamw: Omit<OwnOptimizer, 'name'> = {
  state: ({ shape }) => ({ m: shape, v: shape }),
  update({ parameter, gradient, state, rate, step, beta1, beta2, epsilon, weightDecay }) {
    const [m, v] = [mix(beta1, state.m as Tensor, gradient), mix(beta2, state.v as Tensor, square(gradient))]
    const corrected = (moment: Tensor, beta: number) => divide(moment, subtract(1, exp(multiply(step, Math.log(beta)))))
    const change = divide(corrected(m, beta1), add(sqrt(corrected(v, beta2)), epsilon))
    const kept = multiply(parameter, subtract(1, multiply(rate, weightDecay)))
    return { parameter: subtract(kept, multiply(rate, change)), state: { m, v } }
  },
}

test.each<[string, Train]>([
  ['with weight decay and a clipped gradient', { optimizer: { weightDecay: 0.5, clip: 0.1 } }],
  ['of two micro-batches', { microBatches: 2, optimizer: { clip: 0 } }],
  [
    'with rates and a decay of their own for experts and routers, which stop to learn, and a frozen table',
    {
      ...{ optimizer: { expertWeightDecay: 0.9, beta1: 0.8, beta2: 0.9 }, routerSteps: 6, freeze: ['embedding'] },
      schedule: { expertRate: 0.3, routerRate: 3 },
    },
  ],
])('AdamW as a rule has the loss curve of the built-in AdamW: %s', async (_, train) => {
  const expected = await losses(train, 12)
  const found = await losses({ ...train, optimizer: { ...train.optimizer, ...own(adamw) } }, 12)
  expect(expected.at(-1)).toBeLessThan((expected[0] as number) * 0.9)
  for (const [i, loss] of expected.entries()) expect(Math.abs((found[i] as number) / loss - 1)).toBeLessThan(1e-4)
})

test('a step along the gradient is p − rate · scale · g, to the bit, for every parameter', async () => {
  const sgd = own({
    update: ({ parameter, gradient, rate }) => ({ parameter: subtract(parameter, multiply(gradient, rate)) }),
  })
  for (const clip of [0, 0.05])
    await withTrainer({ optimizer: { ...sgd, clip } }, async (trainer, store) => {
      expect(trainer.optimizer.stateTensors()).toEqual([])
      for (let step = 1; step <= 4; step++) {
        const before = store.specs.map(({ name }) => floatsOf(store.parameter(name)).slice())
        const { learningRate, gradNorm } = await trainer.step(step, batch)
        const scale = Math.fround(clip > 0 ? clip / gradNorm : 1)
        expect(scale < 1).toBe(clip > 0)
        const rate = Math.fround(learningRate)
        for (const [i, { name }] of store.specs.entries()) {
          const gradient = floatsOf(store.gradient(name))
          const expected = (before[i] as Float32Array).map((p, j) => {
            const clipped = Math.fround((gradient[j] as number) * scale)
            return Math.fround(p - Math.fround(clipped * rate))
          })
          expect(floatsOf(store.parameter(name)), name).toEqual(expected)
        }
      }
    })
})

test('a rule sees names, roles and shapes, one expert of a stacked parameter, and its weight decay', () => {
  const seen: Record<string, string> = {}
  const optimizer = own({
    update({ name, role, shape, weightDecay, parameter, gradient, rate }) {
      seen[name] = `${role} ${shape.join(' × ')}, decay ${weightDecay}`
      return { parameter: subtract(parameter, multiply(gradient, rate)) }
    },
  })
  checkOptimizer(configOf({ optimizer: { ...optimizer, weightDecay: 0.2, expertWeightDecay: 0.4 }, freeze: ['norm'] }))
  expect(seen).toMatchObject({
    embedding: 'embedding 64 × 16, decay 0',
    'layers.0.attention.norm': 'vector 16, decay 0',
    'layers.0.attention.qkv': 'matrix 16 × 48, decay 0.2',
    'layers.0.ffn.down': 'matrix 32 × 16, decay 0.2',
    'layers.1.moe.router': 'router 16 × 4, decay 0',
    'layers.1.moe.experts.{e}.up': 'matrix 16 × 24, decay 0.4',
    head: 'head 64 × 16, decay 0.2',
  })
  expect(seen).not.toHaveProperty('norm')
})

/** Adds the step to a counter of one number, and keeps the last gradient. */
const counting: Omit<OwnOptimizer, 'name'> = {
  state: ({ role }): Record<string, readonly number[]> => (role === 'router' ? {} : { steps: [], twice: [2] }),
  update({ parameter, gradient, state, rate, step }) {
    const counted = Object.entries(state).map(([name, tensor]) => [name, add(tensor, step)])
    return { parameter: subtract(parameter, multiply(gradient, rate)), state: Object.fromEntries(counted) }
  },
}

test('state has any shape, begins with zeros, and is named by parameter, expert and name', async () => {
  await withTrainer({ optimizer: own(counting), freeze: ['head'] }, async (trainer) => {
    for (let step = 1; step <= 3; step++) await trainer.step(step, batch)
    const tensors = trainer.optimizer.stateTensors()
    expect(tensors.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['embedding.state.steps', 'layers.1.moe.experts.3.up.state.twice']),
    )
    expect(tensors.filter(({ name }) => /router|head/.test(name))).toEqual([])
    for (const { range, shape } of tensors)
      expect([...floatsOf(range)]).toEqual(shape.length === 0 ? [1 + 2 + 3] : [1 + 2 + 3, 1 + 2 + 3])
  })
})

test('equal updates are one program: there are as many as shapes and weight decays', async () => {
  await withTrainer({ optimizer: own(adamw) }, async ({ optimizer }, store) => {
    const kinds = store.specs.map(({ shape, stacked, decay }) => `${stacked ? shape.slice(1) : shape}; ${decay}`)
    expect(optimizer.programs).toHaveLength(new Set(kinds).size)
  })
})

test('a step that is not finite changes neither parameters nor state, and does not count', async () => {
  await withTrainer({ optimizer: own(counting) }, async (trainer, store) => {
    await trainer.step(1, batch)
    const head = floatsOf(store.parameter('head'))
    const kept = head[0] as number
    head[0] = Number.NaN
    const before = floatsOf(store.parameter('layers.0.ffn.up')).slice()
    const { skipped }: StepOutcome = await trainer.step(2, batch)
    expect(skipped).toBe(true)
    expect(floatsOf(store.parameter('layers.0.ffn.up'))).toEqual(before)
    head[0] = kept
    await trainer.step(3, batch)
    // The second update.
    for (const { range } of trainer.optimizer.stateTensors()) expect(floatsOf(range)[0]).toBe(1 + 2)
  })
})

test('an update with a closed gate changes nothing', async () => {
  const config = configOf({ optimizer: own(counting) })
  const store = createStore(runtime, config)
  const optimizer = await ownUpdate(runtime, store, config.train)
  const values = () => store.specs.map(({ name }) => floatsOf(store.parameter(name)).slice())
  for (const { name } of store.specs) floatsOf(store.gradient(name)).fill(1)
  const before = values()
  await optimizer.update({ step: 1, learningRate: 1 }, { norm: 1, scale: 1, isOpen: false })
  expect(values()).toEqual(before)
  await optimizer.update({ step: 1, learningRate: 1 }, { norm: 1, scale: 1, isOpen: true })
  expect(values()).not.toEqual(before)
  for (const program of optimizer.programs ?? []) program.release()
})

test('the biases of routers follow the loads alone', async () => {
  const drifting = own({ update: ({ parameter }) => ({ parameter: add(parameter, 1) }) })
  const config = runSchema.parse({
    ...configOf({ optimizer: drifting }),
    model: { ...configOf({}).model, moe: { experts: 4, hidden: 24, router: 'bias' } },
  })
  const store = createStore(runtime, config)
  const optimizer = await ownUpdate(runtime, store, config.train)
  await optimizer.update({ step: 1, learningRate: 1 }, { norm: 1, scale: 1, isOpen: true })
  expect([...floatsOf(store.parameter('layers.0.moe.router.bias'))]).toEqual([0, 0, 0, 0])
  expect([...floatsOf(store.parameter('norm'))].every((value) => value === 1)).toBe(true)
  for (const program of optimizer.programs ?? []) program.release()
})

test('the memory of the state is that of its tensors', async () => {
  const config = configOf({ optimizer: own(adamw), freeze: ['embedding'] })
  const adam = createStore(runtime, configOf({ freeze: ['embedding'] })).regionBytes
  // Both moments of the built-in AdamW; experts of 16 · 24 numbers are multiples of a cache line.
  expect(createStore(runtime, config).regionBytes).toEqual(adam)
})

describe('a mistake is refused with the parameter at fault', () => {
  const step = ({ parameter, gradient, rate }: OptimizerInput) => subtract(parameter, multiply(gradient, rate))
  test.each<[string, Omit<OwnOptimizer, 'name'>, RegExp]>([
    [
      'nothing returned',
      { update: () => undefined as never },
      /update of embedding returned parameter as undefined \(expected a tensor float32 \[64, 16\]\)/,
    ],
    [
      'another shape',
      {
        update: ({ gradient, rate, shape, parameter }) => ({
          parameter: shape.length === 1 ? rate : subtract(parameter, gradient),
        }),
      },
      /update of layers\.0\.attention\.norm returned parameter as float32 \[\] \(expected a tensor float32 \[16\]\)/,
    ],
    [
      'a condition',
      { update: ({ parameter }) => ({ parameter: less(parameter, 0) }) },
      /returned parameter as bool \[64, 16\]/,
    ],
    [
      'state left out',
      { state: ({ shape }) => ({ m: shape }), update: (given) => ({ parameter: step(given) }) },
      /update of embedding returned state\.m as undefined \(expected a tensor float32 \[64, 16\]\)/,
    ],
    [
      'state without a shape',
      { update: (given) => ({ parameter: step(given), state: { m: given.gradient } }) },
      /returned state\.m, which its function state does not name/,
    ],
    [
      'a shape of text',
      { state: () => ({ m: 'all' as never }), update: () => undefined as never },
      /state of embedding has m with the shape "all"/,
    ],
    [
      'a name with a dot',
      { state: () => ({ 'm.n': [2] }), update: () => undefined as never },
      /has the name "m\.n" \(expected letters and digits\)/,
    ],
    [
      'an input of its own',
      { update: (given) => ({ parameter: multiply(step(given), input('mine', 'float32', [])) }) },
      /update of embedding reads "mine"/,
    ],
    [
      'shapes that do not fit',
      { update: ({ parameter }) => ({ parameter: add(parameter, cast(input('x', 'int32', [7]), 'float32')) }) },
      /optimizer test: update of embedding: shapes \[64, 16\] and \[7\] do not broadcast/,
    ],
  ])('%s', (_, optimizer, message) => {
    expect(() => checkOptimizer(configOf({ optimizer: own(optimizer) }))).toThrow(message)
  })
})

describe('settings of an optimizer', () => {
  const scaled = own({
    settings: { factor: 2, sign: false, form: 'plain' },
    update: ({ parameter, gradient, settings }) => ({
      parameter: subtract(parameter, multiply(gradient, Number(settings.factor))),
    }),
  })

  test('have defaults, and reach the update', async () => {
    for (const [settings, factor] of [
      [{}, 2],
      [{ factor: 4 }, 4],
    ] as const)
      await withTrainer({ optimizer: { ...scaled, settings, clip: 0 } }, async (trainer, store) => {
        const before = floatsOf(store.parameter('norm')).slice()
        await trainer.step(1, batch)
        const gradient = floatsOf(store.gradient('norm'))
        expect(floatsOf(store.parameter('norm'))).toEqual(
          before.map((p, i) => Math.fround(p - Math.fround(factor * (gradient[i] as number)))),
        )
      })
  })

  test.each([
    [
      { factr: 3 },
      'unknown field train.optimizer.settings.factr: 3 (accepted: factor, sign, form; did you mean "factor"?)',
    ],
    [{ factor: 'x' }, 'invalid train.optimizer.settings.factor: "x" (expected a number, such as 2)'],
    [{ sign: 1 }, 'invalid train.optimizer.settings.sign: 1 (expected true or false, such as false)'],
  ])('%j is refused', (settings, message) => {
    expect(() => checkOptimizer(configOf({ optimizer: { ...scaled, settings } }))).toThrow(message)
  })
})
