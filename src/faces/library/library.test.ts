import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { constant, mean, multiply, type Tensor } from './graph.ts'
import {
  configFrom,
  defineConfig,
  exportRun,
  importModel,
  type OwnLayer,
  type OwnOptimizer,
  type OwnRouter,
  plan,
  Run,
  type TrainEvent,
  train,
  UsageError,
  type WritingOptions,
} from './index.ts'

let folder: string
let run: Run
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-library-'))
  const source = join(folder, 'text.txt')
  await writeFile(
    source,
    Array.from({ length: 40 }, (_, i) => `Line ${i} of a text about ${i * 7} things.\n\n`).join(''),
  )
  const config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16 },
    data: { source, tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
    train: { steps: 3, checkpointEvery: 1 },
    runtime: { threads: 1 },
  })
  await train(config, { directory: join(folder, 'run') })
  run = await Run.load(join(folder, 'run'))
})
afterAll(async () => {
  await run.close()
  await rm(folder, { recursive: true, force: true })
})

const written = async (options: WritingOptions): Promise<string> => {
  let text = ''
  for await (const piece of run.generate('Line', options)) text += piece
  return text
}

test('fields override the fields of the preset, and an error names a wrong field', () => {
  const config = defineConfig({ preset: 'tiny', model: { moe: { k: 2 } } })
  expect(config.model.moe?.k).toBe(2)
  expect(config.model.width).toBe(defineConfig({ preset: 'tiny' }).model.width)
  expect(() => defineConfig({ train: { steps: 0 } })).toThrow(/train\.steps: 0/)
  expect(() => defineConfig({ preset: 'tyni' as never })).toThrow(/invalid preset: "tyni".*did you mean "tiny"/)
})

test('without types, a missing configuration or directory gives an error that names it', async () => {
  const untyped = { train, load: Run.load } as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>
  const config = defineConfig({ preset: 'tiny' })
  await expect(untyped.train?.(config)).rejects.toThrow(/^invalid directory: undefined/)
  await expect(untyped.train?.(config, {})).rejects.toThrow(/^invalid directory: undefined/)
  await expect(untyped.train?.({}, { directory: join(folder, 'other') })).rejects.toThrow(
    /^invalid config .*defineConfig/,
  )
  await expect(untyped.load?.()).rejects.toThrow(/^invalid directory: undefined/)
})

test('a run that begins with the weights of another has its settings, except those that are given', async () => {
  const directory = join(folder, 'tuned')
  const source = join(folder, 'run')
  const config = await configFrom(source, { train: { steps: 2, schedule: { learningRate: 1e-4 } } })
  expect(config.model).toEqual(run.config.model)
  expect(config.train.checkpointEvery).toBe(1)
  const starts: TrainEvent[] = []
  const onEvent = (event: TrainEvent) => event.kind === 'start' && starts.push(event)
  const from = { run: source, checkpoint: 3 }
  await train(config, { directory, from, onEvent })
  expect(starts).toMatchObject([{ fromStep: 0, from: { run: source, step: 3 } }])
  await expect(train(config, { directory, resume: true, from })).rejects.toThrow('has its own weights')
  const untyped = { directory: join(folder, 'untyped'), from: source as never }
  await expect(train(config, untyped)).rejects.toThrow('expected { run:')
})

test('the same seed gives the same text, also for two texts at once', async () => {
  const options = { tokens: 12, seed: 3 }
  const alone = await written(options)
  expect(await Promise.all([written(options), written(options)])).toEqual([alone, alone])
})

async function ended(options: WritingOptions) {
  const pieces = run.generate('Line', options)
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return value
  }
}

test('a text ends before a stop, wherever its tokens are cut, and reports why it ended', async () => {
  const options = { tokens: 40, seed: 3, temperature: 1, topK: 0, topP: 1 }
  const whole = await written(options)
  expect(await ended(options)).toMatchObject({ reason: 'length', tokens: 40, seconds: expect.any(Number) })
  for (const [from, to] of [
    [0, 1],
    [5, 8],
    [10, 20],
  ]) {
    const stop = whole.slice(from, to)
    const before = whole.slice(0, whole.indexOf(stop))
    expect(await written({ ...options, stop: ['not in the text', stop] })).toBe(before)
    expect(await ended({ ...options, stop: [stop] })).toMatchObject({ reason: 'stop' })
  }
  expect(await written({ ...options, stop: ['not in the text'] })).toBe(whole)
  const abort = new AbortController()
  abort.abort()
  expect(await ended({ ...options, signal: abort.signal })).toMatchObject({ reason: 'interrupted', tokens: 0 })
})

test('a checkpoint is chosen by its step, and the error for a missing one lists the steps that exist', async () => {
  const older = await Run.load(join(folder, 'run'), { checkpoint: 2 })
  expect(older.step).toBe(2)
  expect((await older.evaluate()).loss).not.toBe((await run.evaluate()).loss)
  await older.close()
  await expect(Run.load(join(folder, 'run'), { checkpoint: 1 })).rejects.toThrow(
    /^invalid checkpoint: 1 \(.*run has those of steps 2, 3\)$/,
  )
})

describe('an option out of range is refused before anything is written', () => {
  test.each([
    { tokens: 0 },
    { tokens: Number.NaN },
    { temperature: -1 },
    { topK: 1.5 },
    { topP: 2 },
    { seed: 0.5 },
    { stop: [''] },
  ])('%j', (options) => {
    expect(() => run.generate('Line', options)).toThrow(UsageError)
    expect(() => run.generate('Line', options)).toThrow(Object.keys(options)[0])
  })
})

test('routing returns the experts of every token and their gates, which are above 0 and at most 1', async () => {
  const { tokens, routers } = await run.routing('Line 7')
  expect(tokens.join('')).toBe('Line 7')
  for (const { experts, choices, expert, gate } of routers) {
    expect(expert).toHaveLength(tokens.length * choices)
    expect(expert.every((id) => id >= 0 && id < experts)).toBe(true)
    expect(gate.every((weight) => weight > 0 && weight <= 1)).toBe(true)
  }
  await expect(run.routing('')).rejects.toThrow(/invalid text/)
})

test('scores have the type and the order of their texts, and the context of a continuation changes them', async () => {
  const context = 'Line 7 of a'
  const [plain, same, continued, questioned] = await run.score([
    'Line 7',
    { text: 'Line 7' },
    { context, continuation: ' text' },
    { context, choices: [' text', ' thing'] },
  ])
  expect(plain.tokens.map(({ text }) => text).join('')).toBe('Line 7')
  expect(plain.total).toBeCloseTo(
    plain.tokens.reduce((sum, { logProbability }) => sum + (logProbability ?? Number.NaN), 0),
    10,
  )
  expect(same.total).toBeCloseTo(plain.total, 4)
  expect(questioned.choices[0]?.total).toBeCloseTo(continued.total, 4)
  const [alone] = await run.score([' text'])
  expect(alone.total).not.toBeCloseTo(continued.total, 2)
  expect(await run.score([])).toEqual([])
})

describe('wrong texts and options of score are refused by name', () => {
  test.each<[unknown, unknown, RegExp]>([
    ['a text', {}, /^invalid texts: "a text" \(expected a list\)/],
    [['a', ''], {}, /^texts\[1\]: invalid text: ""/],
    [['a'], { stride: 0 }, /^invalid stride: 0 \(expected a positive integer\)/],
    [['a'], { stride: 17 }, /^invalid stride: 17 \(expected at most 16/],
    [['a'], { strides: 3 }, /^unknown field strides: 3 \(accepted: .*did you mean "stride"/],
    [['a'], { begin: 'no' }, /^invalid begin: "no" \(expected true or false\)/],
    [['a'], { signal: 'stop' }, /^invalid signal: "stop" \(expected an AbortSignal\)/],
  ])('%j %j', async (texts, options, message) => {
    await expect(run.score(texts as string[], options as object)).rejects.toThrow(message)
  })
})

test('a plan takes the name of a preset, or an object that names one', async () => {
  const [named, given] = [await plan('m6t-base', 'v100-8'), await plan({ preset: 'm6t-base' }, 'v100-8')]
  expect(given.best[0]?.time.stepSeconds).toBe(named.best[0]?.time.stepSeconds)
  await expect(plan('m6t-base', 'v100')).rejects.toThrow(/unknown cluster "v100"/)
})

test('a closed run refuses calls, and may be closed again', async () => {
  const other = await Run.load(join(folder, 'run'))
  await other.close()
  await other.close()
  expect(() => other.generate('Line')).toThrow(/this run is closed/)
  await expect(async () => other.evaluate()).rejects.toThrow(/this run is closed/)
  await expect(other.score(['Line'])).rejects.toThrow(/this run is closed/)
})

test('a run that is exported and imported again has the same loss', async () => {
  const { model, data, runtime } = run.config
  const config = defineConfig({ model: { ...model, activation: 'swiglu' }, data, runtime, train: { steps: 1 } })
  const [original, exported, imported] = ['swiglu', 'exported', 'imported'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  await train(config, { directory: original })
  const { architecture, logits } = await exportRun(original, { format: 'hf', out: exported })
  expect(architecture).toMatch(/Moe/)
  expect(logits).toMatchObject({ reader: 'choir import' })
  const report = await importModel(exported, imported)
  expect(report.tensors.length).toBeGreaterThan(0)
  const found = await Promise.all(
    [original, imported].map(async (directory) => {
      const loaded = await Run.load(directory)
      const { loss } = await loaded.evaluate({ source: join(folder, 'text.txt') })
      const [score] = await loaded.score(['Line 7 of a text'])
      await loaded.close()
      return { loss, total: score.total }
    }),
  )
  expect(found[0]?.loss).toBeGreaterThan(0)
  expect(found[1]?.loss).toBeCloseTo(found[0]?.loss as number, 5)
  expect(found[1]?.total).toBeCloseTo(found[0]?.total as number, 3)
})

test('an export has the coefficient of the balancing loss at the step of its checkpoint', async () => {
  const { model, data, runtime } = run.config
  if (model.moe === null) throw new Error('dense')
  // The coefficient falls from 0.4 at step 1 to 0.1 at step 4.
  const config = defineConfig({
    model: { ...model, activation: 'swiglu', moe: { ...model.moe, balance: { coefficient: 0.4 } } },
    data,
    runtime,
    train: { steps: 4, checkpointEvery: 1, keep: 3, schedule: { finalBalance: 0.25 } },
  })
  const directory = join(folder, 'fading')
  await train(config, { directory })
  for (const [checkpoint, coefficient] of [
    [2, 0.3],
    [4, 0.1],
  ] as const) {
    const out = join(folder, `fading-${checkpoint}`)
    await exportRun(directory, { format: 'hf', out, checkpoint })
    const { router_aux_loss_coef } = JSON.parse(await readFile(join(out, 'config.json'), 'utf8'))
    expect(router_aux_loss_coef).toBeCloseTo(coefficient, 12)
  }
})

test('train takes an optimizer of its own, as a function or a file', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'home'))
  const config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16 },
    train: { steps: 2, schedule: { warmup: 0 }, evalEvery: 2, evalBatches: 1 },
    data: { source: join(folder, 'text.txt'), tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
  })
  const still: OwnOptimizer = { name: 'still', update: ({ parameter }) => ({ parameter }) }
  const losses: number[] = []
  const onEvent = (event: TrainEvent) => void (event.kind === 'eval' && losses.push(event.loss))
  await train(config, { directory: join(folder, 'still'), optimizer: still, onEvent })
  await train(config, { directory: join(folder, 'lion'), optimizer: 'examples/optimizers/lion.ts', onEvent })
  // Nothing is learned without an update: the loss is that of the first parameters, about log 300.
  expect(losses[0]).toBeGreaterThan(losses[1] as number)
  expect(JSON.parse(await readFile(join(folder, 'lion', 'config.json'), 'utf8')).train.optimizer).toMatchObject({
    kind: 'own',
    own: expect.stringMatching(/^lion@/),
  })
  const wrong: OwnOptimizer = { name: 'wrong', update: ({ rate }) => ({ parameter: rate }) }
  await expect(train(config, { directory: join(folder, 'wrong'), optimizer: wrong })).rejects.toThrow(
    /optimizer wrong: update of embedding returned parameter as float32 \[\]/,
  )
  vi.unstubAllEnvs()
})

test('train takes a layer of its own for a dense model, whose configuration need not name one', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'home'))
  const config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16, moe: null },
    train: { steps: 2, schedule: { warmup: 0 }, evalEvery: 2, evalBatches: 1 },
    data: { source: join(folder, 'text.txt'), tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
  })
  const layer: OwnLayer = {
    name: 'scaled',
    parameters: ({ width }) => ({ scale: { shape: [width], init: 'ones' } }),
    apply: ({ x_TD, weights }) => {
      const scale = weights.scale as Tensor
      return { y_TD: multiply(x_TD, scale), loss: multiply(mean(scale), 0.25) }
    },
  }
  const directory = join(folder, 'own-layer')
  const losses: (number | undefined)[] = []
  const onEvent = (event: TrainEvent) => {
    if (event.kind === 'train' || event.kind === 'eval') losses.push(event.layer_loss)
  }
  await train(config, { directory, layer, onEvent })
  // Scales are 1 at first, so each layer has a loss of 0.25; the objective, and so the loss, falls with the scales.
  const { layers } = config.model
  expect(losses).toHaveLength(3)
  expect(losses[0]).toBeCloseTo(0.25 * layers, 6)
  expect(losses[1]).toBeLessThan(losses[0] as number)
  expect(losses[2]).toBeGreaterThan(0)
  expect(losses[2]).toBeLessThan(losses[1] as number)
  const run = await Run.load(directory)
  expect(run.config.model.layer).toMatchObject({ own: expect.stringMatching(/^scaled@[0-9a-f]{16}$/), every: 1 })
  await run.close()
  const balance = { name: 'mine', loss: () => constant(1, 'float32', []) }
  await expect(train(config, { directory, balance })).rejects.toThrow(
    'invalid balance: the configuration has no model.moe.balance',
  )
  await expect(train(config, { directory, layer: { name: 'x' } as never })).rejects.toThrow(
    /invalid layer: invalid apply/,
  )
  const sparse = defineConfig({ ...config, model: { ...config.model, moe: {} } })
  await expect(train(sparse, { directory, layer })).rejects.toThrow(/invalid model\.layer\.every.*layer 0 is one/)
  vi.unstubAllEnvs()
})

test('train takes a router of its own, as a function or a file, which the run can be evaluated with', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'home'))
  const config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16, moe: { router: 'top-k', prototypes: 1 } },
    train: { steps: 2, schedule: { warmup: 0 }, evalEvery: 2, evalBatches: 1 },
    data: { source: join(folder, 'text.txt'), tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
  })
  const router: OwnRouter = {
    name: 'always-first',
    choose: ({ moe, x_TD }) => {
      const tokens = x_TD.shape[0] as number
      const experts = Int32Array.from({ length: tokens * moe.k }, (_, i) => i % moe.k)
      return {
        expert_TK: constant(experts, 'int32', [tokens, moe.k]),
        gate_TK: constant(new Float32Array(tokens * moe.k).fill(1), x_TD.dtype, [tokens, moe.k]),
      }
    },
  }
  const directory = join(folder, 'own-router')
  await train(config, { directory, router })
  const run = await Run.load(directory)
  expect(run.config.model.moe).toMatchObject({
    router: 'own',
    own: expect.stringMatching(/^always-first@[0-9a-f]{16}$/),
  })
  const { routers } = await run.routing('the people')
  for (const { expert } of routers) expect(new Set(expert)).toEqual(new Set([0]))
  await run.close()
  await expect(train(config, { directory, router: { name: 'x' } as never })).rejects.toThrow(
    /invalid router: invalid choose/,
  )
  await expect(train(config, { directory, router: 'none.ts' })).rejects.toThrow(/none\.ts" cannot be read/)
  vi.unstubAllEnvs()
})
