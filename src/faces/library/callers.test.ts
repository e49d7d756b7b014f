/**
 * Arguments of callers of the library, with and without types, are checked and do not change, and errors of their
 * listeners arrive.
 *
 * @slow
 */
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRuntime } from './graph.ts'
import {
  configFrom,
  defineConfig,
  exportRun,
  importModel,
  joinRanks,
  plan,
  Run,
  type RunConfig,
  readRoutes,
  type TrainEvent,
  train,
  UsageError,
  writeAtlas,
} from './index.ts'

let folder: string
let config: RunConfig
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-callers-'))
  const source = join(folder, 'text.txt')
  await writeFile(source, Array.from({ length: 60 }, (_, i) => `Line ${i} about ${i * 7} things.\n\n`).join(''))
  config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16 },
    data: { source, tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
    train: { steps: 6, checkpointEvery: 100, evalEvery: 100, batch: 4 },
    runtime: { threads: 1 },
  })
  await train(config, { directory: join(folder, 'run') })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const newRun = (name: string) => join(folder, name)
const lossesOf = async (run: string): Promise<unknown[]> =>
  (await readFile(join(run, 'metrics.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).loss)

/** The functions of the library without types, as JavaScript calls them. */
const untyped = {
  train,
  load: Run.load,
  configFrom,
  exportRun,
  importModel,
  joinRanks,
  plan,
  readRoutes,
  writeAtlas,
  createRuntime,
  defineConfig: async (input: never) => defineConfig(input),
} as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>

describe('a wrong argument is refused with field, value and what is accepted', () => {
  const run = () => join(folder, 'run')
  const directory = () => newRun('never')
  test.each<[string, () => unknown[], RegExp]>([
    ['defineConfig', () => [null], /^invalid configuration: null \(expected an object/],
    ['defineConfig', () => ['tiny'], /^invalid configuration: "tiny" \(expected an object/],
    ['defineConfig', () => [{ train: { steps: 5n } }], /^invalid train\.steps: 5n \(expected a positive integer\)/],
    ['defineConfig', () => [{ train: { steps: 0, x: () => 1 } }], /unknown field train\.x: a function/],
    ['configFrom', () => [run(), null], /^invalid configuration: null/],
    ['configFrom', () => [5, {}], /^invalid run: 5 \(expected/],
    ['plan', () => [null, 'h100-8'], /^invalid configuration: null/],
    ['plan', () => ['base', null], /^invalid cluster: null/],
    [
      'train',
      () => [{ ...config, train: { ...config.train, steps: -1 } }, { directory: directory() }],
      /train\.steps: -1/,
    ],
    ['train', () => [{ ...config, trian: {} }, { directory: directory() }], /^unknown field trian: \{\}.*did you mean/],
    ['train', () => [config, { directory: directory(), onEvent: 5 }], /^invalid onEvent: 5 \(expected a function\)/],
    [
      'train',
      () => [config, { directory: directory(), signal: {} }],
      /^invalid signal: \{\} \(expected an AbortSignal\)/,
    ],
    ['train', () => [config, { directory: directory(), ranks: 2 }], /^invalid ranks: 2 \(expected an object\)/],
    [
      'train',
      () => [config, { directory: directory(), resume: 'yes' }],
      /^invalid resume: "yes" \(expected true or false\)/,
    ],
    [
      'train',
      () => [config, { directory: directory(), onevent: () => {} }],
      /^unknown field onevent.*mean "onEvent"\?/,
    ],
    [
      'train',
      () => [config, { directory: directory(), from: { run: run(), step: 3 } }],
      /^unknown field from\.step: 3/,
    ],
    ['load', () => [run(), { weights: 'int3' }], /^invalid weights: "int3" \(expected float32, bf16, int8 or int4/],
    ['load', () => [run(), { wieghts: 'int8' }], /^unknown field wieghts: "int8".*did you mean "weights"/],
    ['load', () => [run(), { threads: 0 }], /^invalid threads: 0 /],
    ['load', () => [run(), { onMessage: true }], /^invalid onMessage: true \(expected a function\)/],
    ['load', () => [run(), null], /^invalid options of Run\.load: null \(expected an object\)/],
    [
      'importModel',
      () => [run(), directory(), { upcycle: { experts: 4, k: 2, noise: -1 } }],
      /^invalid upcycle\.noise: -1/,
    ],
    ['importModel', () => [run(), directory(), { sequence: 0 }], /^invalid sequence: 0/],
    ['importModel', () => [run(), undefined], /^invalid out: undefined/],
    ['exportRun', () => [run(), { format: 'onxx' }], /^invalid format: "onxx" .*did you mean "onnx"/],
    ['exportRun', () => [run()], /^invalid options of exportRun: nothing/],
    ['readRoutes', () => [5], /^invalid folder: 5 \(expected the folder of a record\)/],
    ['readRoutes', () => [folder], /has no routes\.json \(expected a folder that choir routing wrote\)/],
    ['writeAtlas', () => [folder, { onmessage: () => {} }], /^unknown field onmessage.*mean "onMessage"/],
    ['joinRanks', () => [{}, { deadline: 'soon' }], /^invalid deadline: "soon"/],
    ['createRuntime', () => [{ treads: 2 }], /^unknown field treads: 2 .*did you mean "threads"/],
  ])('by %s, case %#', async (name, given, message) => {
    const failure = await untyped[name]?.(...given()).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(UsageError)
    expect((failure as Error).message).toMatch(message)
    expect(existsSync(directory())).toBe(false)
  })

  test('by the methods of a run', async () => {
    const run = (await Run.load(join(folder, 'run'))) as unknown as Record<string, (...given: unknown[]) => unknown>
    const refused = async (call: () => unknown) => {
      const failure = await (async () => call())().catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(UsageError)
      return (failure as Error).message
    }
    expect(await refused(() => run.evaluate?.({ batches: -1 }))).toMatch(/^invalid batches: -1 \(expected a positive/)
    expect(await refused(() => run.evaluate?.({ capasity: 'none' }))).toMatch(/^unknown field capasity.*"capacity"/)
    expect(await refused(() => run.evaluate?.({ source: [] }))).toMatch(/^invalid source: \[\]/)
    expect(await refused(() => run.generate?.(5))).toMatch(/^invalid prompt: 5 \(expected text\)/)
    expect(await refused(() => run.generate?.('a', { signal: {} }))).toMatch(/^invalid signal: \{\}/)
    expect(await refused(() => run.generate?.('a', null))).toMatch(/^invalid options of generate: null/)
    expect(await refused(() => run.routing?.(5))).toMatch(/^invalid text: 5/)
    expect(await refused(() => run.recordRoutes?.({ out: 5 }))).toMatch(/^invalid out: 5 /)
    expect(await refused(() => run.recordRoutes?.({ out: '' }))).toMatch(/^invalid out: "" \(expected a new folder/)
    expect(await refused(() => run.recordRoutes?.({ out: 'x', token: 5 }))).toMatch(/^unknown field token: 5.*"tokens"/)
    expect(await refused(() => run.recordRoutes?.({ out: 'x', format: 'csv' }))).toMatch(/^invalid format: "csv"/)
    expect(await refused(() => run.recordRoutes?.({ out: folder }))).toMatch(
      /is not empty \(expected a new or an empty/,
    )
    await run.close?.()
  })
})

test('a configuration that is changed during the training changes nothing, and the configuration of a run is frozen', async () => {
  const own = structuredClone(config)
  const onEvent = () => {
    own.train.steps = 2
    own.train.schedule.learningRate = 5
    own.model.layers = 1
  }
  await train(own, { directory: newRun('changed'), onEvent })
  expect(await lossesOf(newRun('changed'))).toEqual(await lossesOf(newRun('run')))
  const run = await Run.load(newRun('changed'))
  expect(() => {
    run.config.model.sequence = 4
  }).toThrow(TypeError)
  await run.close()
})

describe('an error of onEvent ends the training, and train rejects with it', () => {
  const wrong = new Error('no space for events')
  test('when it is thrown', async () => {
    const onEvent = (event: TrainEvent) => {
      if (event.kind === 'train' && event.step === 2) throw wrong
    }
    await expect(train(config, { directory: newRun('thrown'), onEvent })).rejects.toBe(wrong)
  })

  test('when its promise rejects, after the step under way and with a checkpoint', async () => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', note)
    const onEvent = async (event: TrainEvent) => {
      if (event.kind === 'train' && event.step === 2) throw wrong
    }
    await expect(train(config, { directory: newRun('rejected'), onEvent })).rejects.toBe(wrong)
    await delay(20)
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
    const [checkpoint] = await readdir(join(newRun('rejected'), 'checkpoints'))
    const step = Number(checkpoint?.slice('step-'.length))
    expect(step).toBeGreaterThanOrEqual(2)
    expect(step).toBeLessThan(6)
    const { step: last } = await train(config, { directory: newRun('rejected'), resume: true })
    expect(last).toBe(6)
  })

  test('when the promise of the last event rejects, long after the last step', async () => {
    const onEvent = async (event: TrainEvent) => {
      if (event.kind !== 'checkpoint') return
      await delay(100)
      throw wrong
    }
    await expect(train(config, { directory: newRun('late'), onEvent })).rejects.toBe(wrong)
  })

  test('and an error of onMessage ends an evaluation in the same way', async () => {
    const run = await Run.load(newRun('run'))
    const onMessage = async () => {
      throw wrong
    }
    const source = newRun('other.txt')
    await writeFile(source, 'Another text of a few words.\n\n'.repeat(30))
    await expect(run.evaluate({ source, onMessage })).rejects.toBe(wrong)
    await run.close()
  })
})

describe('close', () => {
  test('ends texts as interrupted, at once or when they are read again', async () => {
    const run = await Run.load(newRun('run'))
    const [begun, paused, waiting] = [0, 1, 2].map(() => run.generate('Line', { tokens: 10_000, temperature: 1 }))
    if (!begun || !paused || !waiting) throw new Error('no texts')
    await begun.next()
    await paused.next()
    const reading = (async () => {
      for (;;) {
        const { done, value } = await begun.next()
        if (done) return value
      }
    })()
    await run.close()
    expect(await reading).toMatchObject({ reason: 'interrupted' })
    const rest: unknown[] = []
    for (let next = await paused.next(); ; next = await paused.next()) {
      rest.push(next.value)
      if (next.done) break
    }
    expect(rest.at(-1)).toMatchObject({ reason: 'interrupted' })
    expect(await waiting.next()).toMatchObject({ done: true, value: { reason: 'interrupted', tokens: 0 } })
  })

  test('waits for evaluations and routings', async () => {
    const run = await Run.load(newRun('run'))
    const [evaluating, routing] = [run.evaluate(), run.routing('Line 1')]
    await run.close()
    expect((await evaluating).loss).toBeGreaterThan(0)
    expect((await routing).tokens.join('')).toBe('Line 1')
  })
})

test('trainings in threads of one process, at the same time and one after the other, have the losses of a training alone', async () => {
  const library = new URL('../../../dist/faces/library/index.js', import.meta.url).href
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.library).then(async ({ train, Run }) => {
      for (const directory of workerData.directories) {
        await train(workerData.config, { directory })
        const run = await Run.load(directory)
        await run.evaluate()
        await run.close()
      }
      parentPort.postMessage('done')
    })`
  const inThread = (name: string) =>
    new Promise<unknown>((resolve, reject) => {
      const directories = [newRun(`${name}-1`), newRun(`${name}-2`)]
      const worker = new Worker(code, { eval: true, workerData: { library, config, directories }, execArgv: [] })
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', (exit) => reject(new Error(`a thread ended with ${exit}`)))
    })
  const here = async () => {
    await train(config, { directory: newRun('main-1') })
    await train(config, { directory: newRun('main-2') })
  }
  await Promise.all([inThread('a'), inThread('b'), here()])
  const alone = await lossesOf(newRun('run'))
  for (const name of ['a-1', 'a-2', 'b-1', 'b-2', 'main-1', 'main-2'])
    expect(await lossesOf(newRun(name))).toEqual(alone)
}, 120_000)
