/** Rates of experts and routers, and the coefficient of the balancing loss, as a training uses them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { openRuntime } from '../../node/run/session.ts'
import { initialize, initialScales } from './store/initialize.ts'
import { createStore, Trainer } from './trainer.ts'

const RATE = 0.01

type Train = NonNullable<RunInput['train']>

const configOf = ({ schedule, ...train }: Train, coefficient = 0.01) =>
  runSchema.parse({
    data: anyVocabulary,
    model: {
      ...{ vocabulary: 40, layers: 2, width: 16, heads: 2, sequence: 8, hidden: 24 },
      moe: {
        experts: 4,
        hidden: 24,
        k: 2,
        router: 'bias',
        attention: 'all',
        from: 1,
        sharedHidden: 8,
        sharedGate: true,
        balance: { coefficient },
      },
    },
    train: { batch: 4, schedule: { kind: 'constant', learningRate: RATE, warmup: 0, ...schedule }, ...train },
    runtime: { threads: 1 },
  })

let runtime: Runtime
beforeAll(async () => {
  runtime = await openRuntime(configOf({}))
})
afterAll(() => runtime.close())

/** The parameters after a step, by name, and the norm of its gradients, which do not depend on rates. */
async function oneStep(config: RunConfig): Promise<{ parameters: Map<string, Float32Array>; norm: number }> {
  const store = createStore(runtime, config)
  await initialize(store, 1, initialScales(config))
  const trainer = await Trainer.compile(runtime, config, store)
  const tokens = Int32Array.from({ length: 32 }, (_, t) => (t * 7) % 40)
  const { gradNorm: norm } = await trainer.step(1, { tokens, targets: tokens.map((token) => (token * 11 + 3) % 40) })
  const parameters = new Map(store.specs.map(({ name }) => [name, floatsOf(store.parameter(name)).slice()]))
  await trainer.release()
  return { parameters, norm }
}

const afterOneStep = async (train: Train) => (await oneStep(configOf(train))).parameters

const isExpert = (name: string) => name.includes('.experts.')
const isRouter = (name: string) => name.endsWith('.router')

test.each<[string, NonNullable<Train['optimizer']>]>([
  ['AdamW', {}],
  ['AdamW in bf16', { state: 'bf16' }],
  ['AdamW in int8', { state: 'int8' }],
  ['Adafactor', { kind: 'adafactor' }],
])(
  '%s: experts and routers have the bits of trainings at their rates, other tensors of a training at the usual rate',
  async (_, of) => {
    const optimizer = { ...of, weightDecay: 0.5 }
    const at = (learningRate: number) => afterOneStep({ optimizer, schedule: { learningRate } })
    // Powers of two, so that factor · rate is exact.
    const [usual, slow, fast] = [await at(RATE), await at(RATE / 4), await at(RATE * 2)]
    const apart = await afterOneStep({ optimizer, schedule: { expertRate: 0.25, routerRate: 2 } })
    expect([...apart.keys()].filter(isExpert)).toHaveLength(4)
    expect([...apart.keys()].filter(isRouter)).toHaveLength(3)
    for (const [name, values] of apart) {
      const expected = isExpert(name) ? slow : isRouter(name) ? fast : usual
      expect(values, name).toEqual(expected.get(name))
      if (expected !== usual) expect(values, name).not.toEqual(usual.get(name))
    }
  },
)

test.each<[string, NonNullable<Train['optimizer']>]>([
  ['AdamW', {}],
  ['AdamW in int8', { state: 'int8' }],
  ['Adafactor', { kind: 'adafactor' }],
])(
  '%s: experts have the bits of a training with their weight decay, other tensors of a training with the usual one',
  async (_, of) => {
    const at = (weightDecay: number) => afterOneStep({ optimizer: { ...of, weightDecay } })
    const [usual, strong] = [await at(0.1), await at(2)]
    const apart = await afterOneStep({ optimizer: { ...of, weightDecay: 0.1, expertWeightDecay: 2 } })
    for (const [name, values] of apart) expect(values, name).toEqual((isExpert(name) ? strong : usual).get(name))
    expect(strong.get('layers.1.moe.shared.up')).not.toEqual(usual.get('layers.1.moe.shared.up'))
  },
)

test.each([1, 2])(
  'the last step has the final share of the balancing loss, with %i micro-batches',
  async (microBatches) => {
    const normOf = async (coefficient: number, finalBalance: number) =>
      (await oneStep(configOf({ steps: 1, microBatches, schedule: { finalBalance } }, coefficient))).norm
    const [faded, small, large] = [await normOf(4, 0.25), await normOf(1, 1), await normOf(4, 1)]
    expect(faded / small).toBeCloseTo(1, 5)
    expect(large / small).toBeGreaterThan(1.01)
  },
)
