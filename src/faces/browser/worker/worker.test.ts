/** A page and a worker, connected by a channel in one process. */
import { MessageChannel } from 'node:worker_threads'
import { afterEach, expect, test } from 'vitest'
import type { RunInput } from '../../../core/config/run-config.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import { RuntimeError } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { unzipRun } from '../run-files.ts'
import type { TrainingEvent } from '../run-training.ts'
import { memoryStore, type RunStore } from '../storage/run-store.ts'
import { smallModel, smallText as text } from '../testing/small-training.ts'
import { TrainingWorker, type WorkerPort } from './client.ts'
import type { Port } from './messages.ts'
import { serveTraining } from './serve.ts'
import type { Services } from './session.ts'

const config: RunInput = {
  model: smallModel,
  data: { tokenizer: { kind: 'bytes' }, heldOut: 0.3 },
  train: { steps: 12, batch: 4, evalEvery: 4, evalBatches: 1, checkpointEvery: 6, routingEvery: 1 },
}

const stores = new Map<string, RunStore>()
const services: Services = {
  openRuntime: () => createRuntime({ threads: 1 }),
  openStore: async (name) => {
    const store = stores.get(name) ?? memoryStore()
    stores.set(name, store)
    return store
  },
}

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

function connect(events: TrainingEvent[] = [], served = services): TrainingWorker {
  const { port1, port2 } = new MessageChannel()
  serveTraining(port1 as unknown as Port, served)
  port1.start()
  port2.start()
  ends.push(() => port1.close())
  return new TrainingWorker(port2 as unknown as WorkerPort, (event) => events.push(event))
}

const failure = (request: Promise<unknown>) => request.then(() => null).catch((error: Error) => error)

const stepsOf = (events: readonly TrainingEvent[]) =>
  events.flatMap((event) => (event.kind === 'step' ? [event.record.step] : []))

test('a training runs to its end, with evaluations and checkpoints, and answers requests meanwhile', async () => {
  const events: TrainingEvent[] = []
  const worker = connect(events)
  const opened = await worker.open({ config, text, store: 'whole' })
  expect([opened.steps, opened.config.train.steps, opened.metrics.length]).toEqual([0, 12, 0])
  const running = worker.run()
  let written = ''
  for await (const piece of worker.generate('the', { tokens: 5 })) written += piece
  expect((await worker.trace('the ship')).tokens.join('')).toBe('the ship')
  expect(await running).toBe(12)
  expect(written.length).toBeGreaterThan(0)
  expect(stepsOf(events)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1))
  const others = events.flatMap((event) => (['evaluation', 'checkpoint'].includes(event.kind) ? [event.kind] : []))
  expect(others).toEqual(['evaluation', 'checkpoint', 'evaluation', 'evaluation', 'checkpoint'])
  await worker.close()
})

test('a training waits before a step that is not allowed yet, and can be paused and asked while it waits', async () => {
  const events: TrainingEvent[] = []
  const worker = connect(events)
  await worker.open({ config, text })
  await worker.allow(2)
  const running = worker.run()
  const done = () => stepsOf(events).length
  await expect.poll(done).toBe(2)
  expect((await worker.trace('the ship')).tokens.join('')).toBe('the ship')
  expect(done()).toBe(2)
  await worker.allow(3)
  await expect.poll(done).toBe(3)
  await worker.pause()
  expect(await running).toBe(3)
  expect(await failure(worker.allow('4' as never))).toEqual(
    new UsageError('invalid step: 4 (expected the number of a step, or null for no limit)'),
  )
  // The limit stays for the next run, and does not keep a training from its end.
  const further = worker.run()
  await worker.allow(12)
  expect(await further).toBe(12)
  expect(await worker.run()).toBe(12)
  await worker.close()
})

test('a paused training continues in another worker, from its store or from a zip file', async () => {
  const events: TrainingEvent[] = []
  const worker = connect(events)
  expect(await worker.resume({ store: 'paused' })).toBe(null)
  await worker.open({ config, text, store: 'paused' })
  const running = worker.run()
  await expect.poll(() => stepsOf(events).length).toBeGreaterThan(1)
  await worker.pause()
  const paused = await running
  expect(paused).toBe(stepsOf(events).length)
  expect(paused).toBeLessThan(12)
  await worker.close()

  const later: TrainingEvent[] = []
  const next = connect(later)
  const opened = await next.resume({ store: 'paused' })
  expect(opened?.steps).toBe(paused)
  expect(opened?.metrics.filter(({ kind }) => kind === 'train').map(({ step }) => step)).toEqual(stepsOf(events))
  expect(await next.run()).toBe(12)
  expect(stepsOf(later)[0]).toBe(paused + 1)
  const zip = await next.export()
  await next.close()

  const last = connect()
  expect((await last.import({ zip })).steps).toBe(12)
  await last.close()
})

test('trainings on a text that one worker has prepared are those on the text itself', async () => {
  const messages: TrainingEvent[] = []
  const prepared = await connect(messages).prepare({ config, text })
  expect(messages.map(({ kind }) => kind)).toContain('prepare')
  const filesOf = async (given: Parameters<TrainingWorker['open']>[0]['text']) => {
    const worker = connect()
    await worker.open({ config, text: given })
    await worker.run()
    const run = unzipRun(await worker.export())
    await worker.close()
    return new Map([...run].filter(([path]) => !['config.json', 'metrics.jsonl'].includes(path)))
  }
  const direct = await filesOf(text)
  // Text, tokenizer, routing, and the parameters and moments of every checkpoint, to the last bit.
  expect(direct.size).toBeGreaterThan(4)
  expect(await filesOf(prepared)).toEqual(direct)
  expect(await filesOf(prepared)).toEqual(direct)
})

test('a prepared text is refused by a training that needs other tokens', async () => {
  const worker = connect()
  const prepared = await worker.prepare({ config, text })
  for (const other of [
    { ...config, data: { ...config.data, heldOut: 0.2 } },
    { ...config, model: { ...smallModel, vocabulary: 300 } },
  ])
    expect((await failure(worker.open({ config: other, text: prepared })))?.message).toContain('prepare the text again')
  const long = { ...config, model: { ...smallModel, sequence: 100_000 } }
  expect(await failure(worker.open({ config: long, text: prepared }))).toBeInstanceOf(UsageError)
  expect(await failure(worker.prepare({ config, text: { name: 'a.txt', content: '' } }))).toBeInstanceOf(UsageError)
})

test('a text ends when the page no longer reads it', async () => {
  const worker = connect()
  await worker.open({ config, text })
  const pieces: string[] = []
  for await (const piece of worker.generate('the', { tokens: 100_000 })) if (pieces.push(piece) === 3) break
  const stop = new AbortController()
  let more = 0
  for await (const _ of worker.generate('the', { tokens: 100_000, signal: stop.signal })) if (++more === 3) stop.abort()
  expect(pieces.length).toBe(3)
  await worker.close()
})

test('failures keep their kind and message', async () => {
  const worker = connect()
  expect(await failure(worker.run())).toEqual(new UsageError('no training is open in this worker'))
  expect(await failure(worker.open({ config: { train: { steps: 0 } }, text }))).toBeInstanceOf(UsageError)
  const misspelt = worker.import({ zip: new Uint8Array(9), texts: text } as never)
  expect((await failure(misspelt))?.message).toMatch(/^unknown field texts.*did you mean "text"\?/)
  await worker.open({ config, text })
  expect(await failure(worker.open({ config, text }))).toEqual(
    new UsageError('a training is open in this worker (close it first)'),
  )
  expect((await failure(worker.checkpoint()))?.message).toContain('this training is not stored')
  await worker.close()

  const without = connect([], {
    ...services,
    openRuntime: async () => {
      throw new RuntimeError('no WebGPU in this browser')
    },
  })
  expect(await failure(without.open({ config, text }))).toEqual(new RuntimeError('no WebGPU in this browser'))
  const full: Services = {
    ...services,
    openStore: async () => ({
      save: () => Promise.reject(new RunError('cannot store the run: full')),
      load: async () => null,
      clear: async () => {},
    }),
  }
  const unstored = connect([], full)
  await unstored.open({ config, text, store: 'full' })
  expect(await failure(unstored.run())).toEqual(new RunError('cannot store the run: full'))
  await unstored.close()
})
