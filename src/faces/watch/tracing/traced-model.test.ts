/**
 * Traces texts and documents with a model trained for a few steps, in this process.
 *
 * @slow
 */
import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import type { RoutingRecord } from '../../../core/model/routing/statistics.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { readJsonLines } from '../../../node/system/jsonl.ts'
import { train } from '../../../node/train/train.ts'
import { evaluateRun } from '../../../use/runs/evaluate.ts'
import { TracedModel } from './traced-model.ts'

const { make } = temporaryFolder()
const words = 'the of and people states government will congress war peace union law public nation'.split(' ')
/** One line per document, with multi-byte characters. */
const documents = Array.from(
  { length: 24 },
  (_, d) => `${Array.from({ length: 40 }, (_, i) => words[(i * (d + 3) + d) % words.length]).join(' ')} naïve — 🎼.`,
)

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>

async function trained(moe: Moe | null): Promise<string> {
  const folder = make()
  const source = join(folder, 'corpus.jsonl')
  writeFileSync(source, documents.map((text) => JSON.stringify({ text })).join('\n'))
  const config = runSchema.parse({
    model: {
      vocabulary: 257,
      layers: 2,
      width: 16,
      heads: 2,
      sequence: 16,
      hidden: 32,
      moe: moe && { hidden: 32, experts: 4, ...moe },
    },
    data: { source, tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache'), heldOut: 0.3 },
    train: { steps: 2, batch: 4, evalEvery: 2, evalBatches: 1, checkpointEvery: 2, routingEvery: 1 },
    runtime: { threads: 1 },
  })
  const directory = join(folder, 'run')
  await train(config, { directory, resume: false })
  return directory
}

async function using<T>(directory: string, ask: (model: TracedModel) => Promise<T>): Promise<T> {
  const model = await TracedModel.open(directory, [dirname(directory)])
  try {
    return await ask(model)
  } finally {
    await model.close()
  }
}

/** Asks one after the other: a model takes one question at a time. */
async function inSequence<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = []
  for (const item of items) answers.push(await ask(item))
  return answers
}

/** Run directory of a model with two prototypes. */
let plain: string
let model: TracedModel
beforeAll(async () => {
  plain = await trained({ router: 'prototype', prototypes: 2, k: 1 })
  model = await TracedModel.open(plain, [dirname(plain)])
})
afterAll(() => model.close())

describe('a pasted text', () => {
  test('is returned token by token, each with an expert and a gate in every prototype', async () => {
    const text = 'The people — naïve 🎼 — of <b>the</b> "union"\n\tand\u0000 peace'
    const trace = await model.trace({ text })
    expect(trace.tokens.join('')).toBe(text)
    expect(trace).toMatchObject({ step: 2, cut: false })
    expect(trace.tokens).toHaveLength(Buffer.byteLength(text))
    // After two steps, the loss is near a uniform guess among 257 tokens.
    expect(trace.loss).toBeGreaterThan(1)
    expect(trace.loss).toBeLessThan(2 * Math.log(257))
    expect(trace.routers).toHaveLength(2)
    for (const { choices, expert, gate, experts, prototypes } of trace.routers) {
      expect([choices, experts, prototypes]).toEqual([2, 4, 2])
      for (const values of [expert, gate]) expect(values).toHaveLength(trace.tokens.length * 2)
      for (const [i, e] of expert.entries()) expect(Math.floor(e / 2)).toBe(i % 2)
      for (const g of gate ?? []) expect(g > 0 && g < 1).toBe(true)
    }
  })

  test('keeps its choices when more text follows', async () => {
    const text = 'the people of the states and the union will '.repeat(2)
    const short = await model.trace({ text: text.slice(0, 40) })
    const long = await model.trace({ text })
    // The model is causal: later text does not change earlier choices.
    for (const [r, { expert }] of short.routers.entries())
      expect(long.routers[r]?.expert.slice(0, expert.length)).toEqual(expert)
  })

  test.each([1, 14, 15, 16, 17, 31, 32, 33, 64, 65])(
    'of %d tokens is traced completely, with a loss',
    async (length) => {
      const text = 'abcdefghijklmnopqrstuvwxyz'.repeat(3).slice(0, length)
      const trace = await model.trace({ text })
      expect(trace.tokens.join('')).toBe(text)
      expect(Number.isFinite(trace.loss)).toBe(true)
      expect(trace.loss).toBeGreaterThan(1)
    },
  )

  test('gains only the loss of each added token, also where sequences and batches end', async () => {
    const text = 'abcdefghijklmnopqrstuvwxyz'.repeat(3)
    const lengths = [1, 2, 14, 15, 16, 17, 30, 31, 32, 33, 62, 63, 64, 65]
    const nats = await using(await trained({ capacity: 'none', k: 1 }), (model) =>
      inSequence(
        lengths,
        async (length) => length * ((await model.trace({ text: text.slice(0, length) })).loss as number),
      ),
    )
    for (const [i, length] of lengths.entries()) {
      const more = length - (lengths[i - 1] ?? 0)
      // A model of two steps still guesses among 257 tokens; one too many, or one left out, would be 5.5 nats.
      expect(Math.abs(((nats[i] as number) - (nats[i - 1] ?? 0)) / more - Math.log(257))).toBeLessThan(3)
    }
  })

  test('that is too long is cut and marked as cut', async () => {
    const trace = await model.trace({ text: '🎼'.repeat(20_000) })
    expect(trace.cut).toBe(true)
    expect(trace.tokens).toHaveLength(2047)
    // The limit of 20,000 code units leaves 10,000 whole symbols, and the limit of tokens may then end within one.
    expect(trace.tokens.join('')).toMatch(/^(?:🎼)+\ufffd?$/u)
  })
})

/** Removes the settings from the checkpoints of a run, as in an earlier version, so that config.json may differ. */
function forgetSettings(directory: string): void {
  const checkpoints = join(directory, 'checkpoints')
  for (const name of readdirSync(checkpoints)) {
    const [state, sums] = ['state.json', 'SHA256SUMS'].map((file) => join(checkpoints, name, file)) as [string, string]
    const stored = JSON.parse(readFileSync(state, 'utf8'))
    delete stored.state.settings
    writeFileSync(state, JSON.stringify(stored))
    const hash = createHash('sha256').update(readFileSync(state)).digest('hex')
    writeFileSync(sums, readFileSync(sums, 'utf8').replace(/^[0-9a-f]+(?= +state\.json$)/m, hash))
  }
}

/** Copies a run and changes its configuration. */
function withSettings(directory: string, settings: { readonly moe?: Moe; readonly batch?: number }): string {
  const copy = join(make(), 'run')
  cpSync(directory, copy, { recursive: true })
  const config = JSON.parse(readFileSync(join(copy, 'config.json'), 'utf8'))
  Object.assign(config.model.moe, settings.moe)
  if (settings.batch !== undefined) config.train.batch = settings.batch
  writeFileSync(join(copy, 'config.json'), JSON.stringify(config))
  forgetSettings(copy)
  return copy
}

describe('a text much shorter than a window', () => {
  // Experts take a quarter of an even share: in a batch full of one short text, three of four choices are dropped.
  const tight = { factor: 0.25, evalFactor: 0.25, attention: 'all', k: 2 } as const
  const short = { text: 'war' }

  test('is routed as without a capacity limit, whatever the filler of its batch', async () => {
    const run = await trained(tight)
    const trace = await using(run, (model) => model.trace(short))
    expect(trace.tokens).toHaveLength(3)
    const free = withSettings(run, { moe: { capacity: 'none' } })
    expect(await using(free, (model) => model.trace(short))).toEqual(trace)
  })

  test('is routed as by top-k without a capacity limit if its router is expert-choice', async () => {
    const run = await trained({ router: 'expert-choice', k: 2, factor: 0.25, evalFactor: 0.25, attention: 'all' })
    const trace = await using(run, (model) => model.trace(short))
    const free = withSettings(run, { moe: { router: 'top-k', capacity: 'none' } })
    expect(await using(free, (model) => model.trace(short))).toEqual(trace)
  })

  test.each([1, 2, 8])('is routed in a batch of %d windows as in a batch of four', async (batch) => {
    const run = await trained(tight)
    const trace = await using(run, (model) => model.trace(short))
    const other = await using(withSettings(run, { batch }), (model) => model.trace(short))
    expect(other.loss).toBeCloseTo(trace.loss as number, 5)
    for (const [r, { expert, gate }] of trace.routers.entries()) {
      expect(other.routers[r]?.expert).toEqual(expert)
      // Gates have four digits.
      for (const [i, value] of (gate ?? []).entries()) expect(other.routers[r]?.gate?.[i]).toBeCloseTo(value, 3)
    }
  })
})

describe('held-out documents', () => {
  test('are listed with their lengths, and each is traced with its original text', async () => {
    const { documents: listed } = await model.documents()
    expect(listed.length).toBeGreaterThan(2)
    for (const { index, title, characters } of listed) {
      const line = Number(/corpus\.jsonl:(\d+)/.exec(title)?.[1])
      const text = documents[line - 1] as string
      const trace = await model.trace({ document: index })
      expect(trace.tokens.join('')).toBe(text)
      expect(characters).toBe(text.length)
      expect(trace.cut).toBe(false)
    }
    await expect(model.trace({ document: listed.length })).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining(`unknown document: ${listed.length}`),
    })
  })

  test('have on average about the loss of evaluation', async () => {
    const { loss } = await evaluateRun(plain)
    const { documents: listed } = await model.documents()
    const losses = await inSequence(
      listed,
      async ({ index }) => (await model.trace({ document: index })).loss as number,
    )
    // Evaluation cuts the same text into other sequences.
    expect(Math.abs(losses.reduce((sum, each) => sum + each, 0) / losses.length - loss)).toBeLessThan(0.1)
  })
})

test('with experts in attention, routers come in the order of routing.jsonl', async () => {
  const directory = await trained({ attention: 'all', k: 2 })
  const order: string[] = []
  for await (const { step, layer, module } of readJsonLines<RoutingRecord>(join(directory, 'routing.jsonl')))
    if (step === 1) order.push(`${layer} ${module}`)
  const { routers } = await using(directory, (model) => model.trace({ text: 'the people' }))
  expect(order).toHaveLength(6)
  expect(routers.map(({ layer, module }) => `${layer} ${module}`)).toEqual(order)
})

test('top tokens of all experts cover every assignment of the sample', async () => {
  const answers = await inSequence([0, 1, 2, 3], (expert) => model.topTokens({ router: 1, expert }))
  const looked = answers[0]?.looked as number
  // Each token has one choice in each of two prototypes.
  expect(answers.reduce((sum, { assigned }) => sum + assigned, 0)).toBe(2 * looked)
  for (const { step, tokens } of answers) {
    expect(step).toBe(2)
    expect(tokens.length).toBeLessThanOrEqual(40)
    for (const { share } of tokens) expect(share > 0 && share <= 1).toBe(true)
  }
})

test('with expert-choice every token has its top k experts, as in generation', async () => {
  const directory = await trained({ router: 'expert-choice', k: 1 })
  await using(directory, async (model) => {
    const answers = await inSequence([0, 1, 2, 3], (expert) => model.topTokens({ router: 0, expert }))
    expect(answers.reduce((sum, { assigned }) => sum + assigned, 0)).toBe(answers[0]?.looked)
  })
})

test('a dense run cannot be traced', async () => {
  await expect(TracedModel.open(await trained(null), [])).rejects.toThrow(UsageError)
})

test('a run of a GPU is traced on the CPU, in float32', async () => {
  const directory = await trained({ router: 'top-k', k: 1 })
  const path = join(directory, 'config.json')
  const stored = JSON.parse(readFileSync(path, 'utf8'))
  const text = 'the people of the state'
  const own = await using(directory, (model) => model.trace({ text }))
  writeFileSync(path, JSON.stringify({ ...stored, runtime: { device: 'webgpu', math: 'f16' } }))
  forgetSettings(directory)
  expect(await using(directory, (model) => model.trace({ text }))).toEqual(own)
})
