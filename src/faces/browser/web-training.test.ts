/** @slow */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import type { RoutingRecord } from '../../core/model/routing/statistics.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../node/data/testing/temporary-folder.ts'
import { loadRunConfig } from '../../node/run/load-config.ts'
import { readJsonLines } from '../../node/system/jsonl.ts'
import { train } from '../../node/train/train.ts'
import type { EvalRecord, TrainRecord } from '../../train/step/metrics/records.ts'
import { evaluateRun } from '../../use/runs/evaluate.ts'
import { generate } from '../../use/runs/generate.ts'
import { type RunFiles, unzipRun, zipRun } from './run-files.ts'
import { memoryStore } from './storage/run-store.ts'
import { WebTraining } from './web-training.ts'

const { make } = temporaryFolder()
const words = 'the of and people states government will congress war peace union law public nation'.split(' ')
const content = Array.from(
  { length: 400 },
  (_, i) => `${words[i % 14]} ${words[(i * 5 + 3) % 14]} ${words[(i * i) % 14]}${i % 9 === 0 ? '.\n\n' : ''}`,
).join(' ')
const text = { name: 'notes.txt', content }

const config: RunInput = {
  model: {
    vocabulary: 300,
    layers: 2,
    width: 16,
    heads: 2,
    sequence: 16,
    hidden: 32,
    moe: { experts: 4, hidden: 32, router: 'top-k', k: 1 },
  },
  data: { heldOut: 0.2 },
  train: { steps: 6, batch: 4, microBatches: 2, evalEvery: 3, evalBatches: 2, checkpointEvery: 3, routingEvery: 2 },
  runtime: { threads: 1 },
}

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ threads: 1 })
})
afterAll(() => runtime.close())

/** A record without the fields that depend on time. */
const timeless = (record: TrainRecord | EvalRecord | RoutingRecord) => {
  const { tokens_per_second: _, step_ms: __, mfu: ___, ...rest } = record as TrainRecord
  return rest
}

async function linesOf<T>(directory: string, name: string): Promise<T[]> {
  const lines: T[] = []
  for await (const line of readJsonLines<T>(join(directory, name))) lines.push(line)
  return lines
}

/** Trains in Node on the same text, in a file. */
async function trainInNode(steps = 6): Promise<string> {
  const folder = make()
  const source = join(folder, 'notes.txt')
  writeFileSync(source, content)
  const directory = join(folder, 'run')
  const data = { ...config.data, source, cache: join(folder, 'cache') }
  await train(runSchema.parse({ ...config, data, train: { ...config.train, steps } }), { directory })
  return directory
}

function unpack(files: RunFiles): string {
  const directory = join(make(), 'unpacked')
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), bytes)
  }
  return directory
}

const open = () => WebTraining.open({ config, text, runtime })

async function steps(training: WebTraining, count: number) {
  const records = []
  for (let i = 0; i < count; i++) records.push(await training.step())
  return records
}

test('a training in a page has the records and checkpoints of a training in Node, except for times', async () => {
  const node = await trainInNode()
  const training = await open()
  for (let step = 1; step <= 6; step++) {
    await training.step()
    if (step % 3 === 0) await training.evaluate()
  }
  const metrics = await linesOf<TrainRecord>(node, 'metrics.jsonl')
  expect(training.metrics().map(timeless)).toEqual(metrics.map(timeless))
  expect(training.routing()).toEqual(await linesOf(node, 'routing.jsonl'))
  expect(training.tokenizer.json).toBe(readFileSync(join(node, 'tokenizer.json'), 'utf8'))
  const files = unzipRun(await training.export())
  // These files have all bytes of parameters and moments, and the hashes of the text and of all tensors.
  for (const name of ['model.safetensors', 'optimizer.safetensors', 'state.json', 'SHA256SUMS']) {
    const path = `checkpoints/step-00000006/${name}`
    expect(Buffer.from(files.get(path) as Uint8Array).equals(readFileSync(join(node, path))), name).toBe(true)
  }
  expect(training.isFinished).toBe(true)
  await expect(training.step()).rejects.toThrow(new UsageError('invalid step: all are done (train.steps is 6)'))
  await training.close()
}, 60_000)

test('an exported run is resumed, evaluated and used in Node, wherever it is unpacked', async () => {
  const training = await open()
  await steps(training, 3)
  const directory = unpack(unzipRun(await training.export()))
  const before = await evaluateRun(directory)
  expect(before.step).toBe(3)
  let written = ''
  for await (const piece of generate(directory, {
    prompt: 'the',
    tokens: 8,
    seed: 1,
    temperature: 0,
    topK: 0,
    topP: 1,
  }))
    written += piece
  const cache = join(make(), 'cache')
  const stored = await loadRunConfig(directory, [`data.cache=${cache}`])
  expect(stored.data.source).toBe('run:text/notes.txt')
  const messages: string[] = []
  const onEvent = (event: { kind: string; message?: string }) => void (event.message && messages.push(event.message))
  await train(stored, { directory, resume: true, onEvent })
  expect(messages.some((message) => message.startsWith('continuing from '))).toBe(true)
  // Node computes the same steps as the page.
  const rest = (await steps(training, 3)).map(({ record }) => record)
  const metrics = (await linesOf<TrainRecord>(directory, 'metrics.jsonl')).filter(({ kind }) => kind === 'train')
  expect(metrics.slice(3).map(timeless)).toEqual(rest.map(timeless))
  let inPage = ''
  const again = await WebTraining.import(zipRun(new Map([...unzipRun(await training.export())])), { runtime })
  await training.close()
  await again.close()
  const first = await open()
  await steps(first, 3)
  for await (const piece of first.generate('the', { tokens: 8, seed: 1, temperature: 0, topK: 0, topP: 1 }))
    inPage += piece
  expect(inPage).toBe(written)
  await first.close()
}, 60_000)

test('a run that Node has trained goes on in a page, with its text', async () => {
  const directory = await trainInNode()
  const names = ['config.json', 'tokenizer.json', 'metrics.jsonl', 'routing.jsonl']
  const paths = [
    ...names,
    ...['model.safetensors', 'optimizer.safetensors', 'state.json', 'SHA256SUMS'].map(
      (name) => `checkpoints/step-00000003/${name}`,
    ),
  ]
  const files = new Map(paths.map((path) => [path, new Uint8Array(readFileSync(join(directory, path)))]))
  const zip = zipRun(files)
  await expect(WebTraining.import(zip, { runtime })).rejects.toThrow('the run does not hold its text')
  const corpus = { name: 'sotu', documents: [{ name: '1790_george.json', content: '{"text":"Fellow citizens"}' }] }
  await expect(WebTraining.import(zip, { runtime, text: corpus })).rejects.toThrow('the run does not hold its text')
  const other = { name: 'notes.txt', content: `${content} more` }
  await expect(WebTraining.import(zip, { runtime, text: other })).rejects.toThrow('the text has changed since')
  const training = await WebTraining.import(zip, { runtime, text })
  expect(training.steps).toBe(3)
  const records = (await steps(training, 3)).map(({ record }) => record)
  const metrics = (await linesOf<TrainRecord>(directory, 'metrics.jsonl')).filter(({ kind }) => kind === 'train')
  expect(records.map(timeless)).toEqual(metrics.slice(3).map(timeless))
  expect(training.metrics().map(timeless)).toEqual(
    (await linesOf<TrainRecord>(directory, 'metrics.jsonl'))
      .filter(({ kind, step }) => kind === 'train' || step < 6)
      .map(timeless),
  )
  await training.close()
}, 60_000)

test('a stored run continues from where it was saved, with the same bits', async () => {
  const store = memoryStore()
  expect(await WebTraining.resume(store, { runtime })).toBe(null)
  const training = await open()
  await steps(training, 2)
  await training.checkpoint(store)
  const expected = await steps(training, 2)
  await training.close()
  const again = (await WebTraining.resume(store, { runtime })) as WebTraining
  expect((await steps(again, 2)).map(({ record }) => timeless(record))).toEqual(
    expected.map(({ record }) => timeless(record)),
  )
  expect(again.metrics().map(({ step }) => step)).toEqual([1, 2, 3, 4])
  await again.close()
})

test('texts, traces, evaluations and exports during training change no step', async () => {
  const [quiet, busy] = [await open(), await open()]
  const expected = await steps(quiet, 6)
  let text = ''
  const writing = (async () => {
    for await (const piece of busy.generate('the people', { tokens: 12, seed: 3 })) text += piece
  })()
  const training = steps(busy, 6)
  const [traced, evaluation, zip] = await Promise.all([busy.trace('the people'), busy.evaluate(), busy.export()])
  expect((await training).map(({ record }) => timeless(record))).toEqual(expected.map(({ record }) => timeless(record)))
  await writing
  expect(text.length).toBeGreaterThan(0)
  expect(traced.tokens.join('')).toBe('the people')
  expect(traced.routers.map(({ layer, expert }) => [layer, expert.length])).toEqual([
    [0, traced.tokens.length],
    [1, traced.tokens.length],
  ])
  expect(evaluation.kind).toBe('eval')
  expect(unzipRun(zip).has('tokenizer.json')).toBe(true)
  await Promise.all([quiet.close(), busy.close()])
  await expect(busy.step()).rejects.toThrow('this training is closed')
})

test('every step has the loads of all experts', async () => {
  const training = await open()
  const { record, routing } = await training.step()
  expect(record.step).toBe(1)
  expect(routing.map(({ layer }) => layer)).toEqual([0, 1])
  for (const { tokens_per_expert } of routing) expect(tokens_per_expert.reduce((sum, n) => sum + n)).toBe(64)
  await training.close()
})

describe('a training is refused with the reason', () => {
  const refusal = (options: Partial<Parameters<typeof WebTraining.open>[0]>) =>
    WebTraining.open({ config, text, runtime, ...options }).then(
      () => 'none',
      (error: Error) => error.message,
    )

  test.each([
    [{ text: { name: 'notes.txt', content: '' } }, 'data.source: notes.txt is empty'],
    [{ text: { name: '../notes.txt', content } }, 'invalid data.source: run:../notes.txt'],
    [{ text: { name: 'a?.txt', content } }, 'invalid name of a text'],
    [{ text: { name: 'notes.txt', content: Uint8Array.of(1, 0, 2) } }, 'is not text: NUL byte at offset 1'],
    [
      { text: { name: 'folder', documents: [{ name: 'a.pdf', content: Uint8Array.of(1, 0) }] } },
      'data.source: no file can be read as text: 1 binary (a.pdf)',
    ],
    [{ text: { name: 'folder', documents: [{ name: 'a.txt.gz', content }] } }, 'a.txt.gz cannot be read here'],
    [{ text: { name: 'sotu', documents: [{ name: 'a.txt', content }] } }, 'no document of the corpus "sotu"'],
    [{ text: undefined as never }, 'invalid text: nothing (expected { name, content }'],
    [{ text: 'some text' as never }, 'invalid text: "some text"'],
    [{ text: [{ name: 'a', content }] as never }, 'invalid text: [{"name":"a"'],
    [{ text: { name: 'a' } as never }, 'invalid text: {"name":"a"}'],
    [{ text: { name: 'a', documents: [{ name: 'b', content: 5 }] } as never }, 'invalid text.documents[0]'],
    [{ text: { name: 'a', content, documents: undefined } as never }, 'invalid text: {"name":"a"'],
    [{ text: { name: 'sotu', content, documents: 5 } as never }, 'invalid text: {"name":"sotu"'],
    [{ runtime: undefined as never }, 'missing runtime'],
    [{ runtime: 5 as never }, 'invalid runtime: 5'],
    [{ wrong: 1 } as never, 'unknown field wrong'],
    [{ config: { ...config, data: { tokenizer: { kind: 'file' as const, path: 'a' } } } }, 'data.tokenizer.kind: file'],
    [{ config: { model: { widht: 3 } } as RunInput }, 'unknown field model.widht'],
    [{ config: null as never }, 'invalid configuration: null'],
    [{ config: { ...config, data: 5 as never } }, 'invalid data: 5'],
    [
      { config: { ...config, model: { ...config.model, moe: null, layer: { own: 'mine@0123456789abcdef' } } } },
      'the layer mine@0123456789abcdef is not loaded: it is a program of its own',
    ],
    [
      {
        config: {
          ...config,
          model: { ...config.model, moe: { balance: { form: 'own' as const, own: 'mine@0123456789abcdef' } } },
        },
      },
      'the balancing loss mine@0123456789abcdef is not loaded: it is a program of its own',
    ],
  ])('if an option is wrong, case %#', async (options, message) => {
    expect(await refusal(options)).toContain(message)
  })

  test('if a zip file has no run, or the checkpoint of the run is damaged', async () => {
    await expect(WebTraining.import(new Uint8Array(10), { runtime })).rejects.toThrow('it is not a zip file')
    await expect(WebTraining.import(zipRun(new Map([['a', new Uint8Array()]])), { runtime })).rejects.toThrow(
      'the zip file has no config.json',
    )
    const training = await open()
    const files = new Map(unzipRun(await training.export()))
    await training.close()
    const path = 'checkpoints/step-00000000/model.safetensors'
    const bytes = (files.get(path) as Uint8Array).slice()
    bytes[bytes.length - 1] = 1
    files.set(path, bytes)
    const warnings: string[] = []
    const onMessage = ({ message }: { message: string }) => void warnings.push(message)
    await expect(WebTraining.import(zipRun(files), { runtime, onMessage })).rejects.toThrow(
      'no checkpoint that is intact',
    )
    expect(warnings.join()).toContain('model.safetensors does not match its checksum')
  })
})
