/** Frozen parameters keep their bits, and the other parameters are trained as without freezing. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { matchesName } from '../../core/model/freeze.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { openRuntime } from '../../node/run/session.ts'
import { initialize, initialScales } from './store/initialize.ts'
import type { ParameterStore } from './store/store.ts'
import { createStore, type StepOutcome, Trainer } from './trainer.ts'

const configOf = (model: RunInput['model'], train: RunInput['train']): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: { vocabulary: 40, layers: 2, width: 16, heads: 2, sequence: 8, hidden: 24, ...model },
    train: { batch: 4, schedule: { kind: 'constant', learningRate: 1e-2, warmup: 0 }, ...train },
    runtime: { threads: 1 },
  })

const moe = { experts: 4, hidden: 24, k: 2, router: 'bias' } as const
const batch = {
  tokens: Int32Array.from({ length: 32 }, (_, t) => (t * 7) % 40),
  targets: Int32Array.from({ length: 32 }, (_, t) => (t * 11 + 3) % 40),
}

let runtime: Runtime
beforeAll(async () => {
  runtime = await openRuntime(configOf({ moe }, {}))
})
afterAll(() => runtime.close())

interface Trained {
  readonly store: ParameterStore
  readonly outcome: StepOutcome
  /** Parameters before and after training, by name. */
  readonly before: ReadonlyMap<string, Float32Array>
  readonly after: ReadonlyMap<string, Float32Array>
  readonly state: readonly string[]
}

async function trained(config: RunConfig, steps: number): Promise<Trained> {
  const store = createStore(runtime, config)
  await initialize(store, 1, initialScales(config))
  const trainer = await Trainer.compile(runtime, config, store)
  const copy = () => new Map(store.specs.map(({ name }) => [name, floatsOf(store.parameter(name)).slice()]))
  const before = copy()
  let outcome: StepOutcome | undefined
  for (let step = 1; step <= steps; step++) outcome = await trainer.step(step, batch)
  const state = trainer.optimizer.stateTensors().map(({ name }) => name)
  await trainer.release()
  return { store, outcome: outcome as StepOutcome, before, after: copy(), state }
}

/** Patterns, and which names they freeze. */
const cases: Record<string, [patterns: string[], frozen: RegExp, model?: RunInput['model']]> = {
  'the embedding': [['embedding'], /^embedding$/],
  'a tied embedding': [['embedding'], /^embedding$/, { tied: true }],
  'routers and their biases': [['*.router'], /\.router(\.bias)?$/],
  'attention in all layers, and the head': [['layers.*.attention.*', 'head'], /\.attention\.|^head$/],
  'the first layer': [['layers.0'], /^layers\.0\./],
  'all experts of a layer': [['layers.1.moe.experts.*'], /^layers\.1\.moe\.experts\./],
  'all but norms': [
    ['embedding', 'head', '*.attention.qkv', '*.attention.output', '*.router', '*.experts.*'],
    /^(?!.*norm)/,
  ],
}

for (const kind of ['adamw', 'adafactor'] as const)
  test.each(Object.entries(cases))(
    `${kind}: %s: frozen parameters keep their bits, the others move and have state`,
    async (_, given) => {
      const [freeze, frozen, model] = given
      const config = configOf({ moe, ...model }, { freeze, microBatches: 2, optimizer: { kind, weightDecay: 0.1 } })
      const { before, after, state } = await trained(config, 3)
      expect([...before.keys()].some((name) => frozen.test(name))).toBe(true)
      for (const [name, values] of before) {
        if (frozen.test(name)) expect(after.get(name)).toEqual(values)
        else expect(after.get(name), name).not.toEqual(values)
        const first = name.replace('{e}', '0')
        expect(state.some((tensor) => tensor.startsWith(`${first}.exp_avg`))).toBe(!frozen.test(name))
      }
    },
  )

test('without clipping, a step moves the other parameters to the same bits as without freezing', async () => {
  const optimizer = { clip: 0 }
  const whole = await trained(configOf({ moe }, { optimizer }), 1)
  const part = await trained(configOf({ moe }, { optimizer, freeze: ['embedding', 'layers.0', '*.router'] }), 1)
  expect(part.outcome.loss).toBe(whole.outcome.loss)
  const moved = [...part.after].filter(([name]) => !/^embedding$|^layers\.0\.|\.router/.test(name))
  expect(moved.length).toBeGreaterThan(5)
  for (const [name, values] of moved) expect(values, name).toEqual(whole.after.get(name))
})

test('the gradient norm is computed over the trained parameters only', async () => {
  const whole = await trained(configOf({ moe }, {}), 1)
  const gradients = ['norm', 'head'].flatMap((name) => [...floatsOf(whole.store.gradient(name))])
  const norm = Math.hypot(...gradients)
  const freeze = ['embedding', 'layers']
  const { outcome } = await trained(configOf({ moe }, { freeze }), 1)
  expect(outcome.gradNorm).toBeCloseTo(norm, 6)
  expect(whole.outcome.gradNorm).toBeGreaterThan(norm * 1.1)
})

test('frozen parameters take no memory for gradients and moments', async () => {
  const sizes = (freeze: string[]) => createStore(runtime, configOf({ moe }, { freeze })).regionBytes
  const [all, some] = [sizes([]), sizes(['embedding'])]
  const table = 4 * 40 * 16
  expect(some.parameters).toBe(all.parameters)
  expect(all.gradients - some.gradients).toBe(table)
  expect(all.moments - some.moments).toBe(2 * table)
})

test('a pattern matches whole names, any text for *, and everything below a name', () => {
  const matching = (pattern: string, names: string[]) => names.filter((name) => matchesName(pattern, name))
  const names = ['embedding', 'layers.1.norm', 'layers.10.norm', 'layers.1.moe.router', 'layers.1.moe.router.bias']
  expect(matching('layers.1', names)).toEqual([names[1], names[3], names[4]])
  expect(matching('*.router', names)).toEqual([names[3], names[4]])
  expect(matching('*.bias', names)).toEqual([names[4]])
  expect(matching('layers.*.norm', names)).toEqual([names[1], names[2]])
  expect(matching('embed', names)).toEqual([])
  expect(matching('layers.1.nor.', names)).toEqual([])
})

test('a pattern of very many * is matched at once, and a pattern of very many characters is refused', () => {
  const began = performance.now()
  const names = ['layers.1.moe.experts.*.up', 'embedding']
  for (const stars of [10, 24, 200]) {
    expect(names.filter((name) => matchesName(`${'*'.repeat(stars)}x`, name))).toEqual([])
    expect(names.filter((name) => matchesName(`${'*'.repeat(stars)}up`, name))).toEqual([names[0]])
  }
  const parsed = runSchema.safeParse({ train: { freeze: ['*'.repeat(1_000_000)] } })
  expect(parsed.error?.issues).toMatchObject([{ code: 'too_big', path: ['train', 'freeze', 0] }])
  expect(performance.now() - began).toBeLessThan(1000)
})

test('a pattern that matches nothing is refused with a similar one, and freezing everything is refused', () => {
  const problem = (freeze: string[]): string => {
    const parsed = runSchema.safeParse({ model: { moe }, train: { freeze } })
    return parsed.error?.issues.map(({ message }) => message).join() ?? ''
  }
  expect(problem(['embeding'])).toBe('"embeding" matches no parameter of this model; did you mean "embedding"?')
  expect(problem(['*.routr'])).toContain('did you mean "*.router"?')
  expect(problem(['layer.0.*'])).toContain('did you mean "layers.0.*"?')
  expect(problem(['layers.0.moe.experts.3.up'])).toContain('did you mean "layers.0.moe.experts.*.up"?')
  expect(problem(['nothing-like-it-at-all'])).toContain('choir inspect lists the names')
  expect(problem(['*'])).toBe('leaves no parameter to train')
})
