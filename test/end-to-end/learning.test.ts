import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { presets } from '../../src/core/config/presets.ts'
import { type RunConfig, type RunInput, runSchema } from '../../src/core/config/run-config.ts'
import { train } from '../../src/node/train/train.ts'
import { randomFor } from '../../src/train/step/random.ts'
import { evaluateRun } from '../../src/use/runs/evaluate.ts'
import { generate } from '../../src/use/runs/generate.ts'
import { evalRecords, expectSuccess, Workspace } from './support.ts'

const LETTERS = 'abcdefgh'
const LENGTH = 500
const SENTENCE = 'The quick brown fox jumps over the lazy dog. '

let workspace: Workspace
let memorised: string
beforeAll(async () => {
  workspace = new Workspace()
  documents('chain', 60, chain)
  // Each rotation of the sentence is one document: no two are equal, so the held-out split keeps its share.
  documents('fox', SENTENCE.length, (i) => SENTENCE.repeat(12).slice(i, i + 450))
  memorised = workspace.file('memorised')
  await expectSuccess(workspace.start('train', workspace.config(foxRun), '--out', memorised, '--json'))
}, 20_000)
afterAll(() => workspace.remove())

function documents(name: string, count: number, text: (index: number) => string): void {
  const lines = Array.from({ length: count }, (_, i) => JSON.stringify({ text: text(i) }))
  writeFileSync(workspace.file(`${name}.jsonl`), `${lines.join('\n')}\n`)
}

/** A Markov chain: a fair coin decides which of two letters follows, i → 2i or 2i + 1 (mod 8). */
function chain(index: number): string {
  const random = randomFor(index, 'chain')
  let [letter, text] = [random.integer(8), '']
  for (let i = 0; i < LENGTH; i++) {
    text += LETTERS[letter]
    letter = (2 * letter + random.integer(2)) % 8
  }
  return text
}

const dataOf = (name: string) => ({ source: workspace.file(`${name}.jsonl`) })

const schedule = { learningRate: 1e-2, warmup: 10 }

const foxRun: RunInput = {
  get data() {
    return dataOf('fox')
  },
  train: { steps: 120, batch: 8, evalEvery: 60, evalBatches: 0, schedule },
}

/** A complete configuration for training in this process. */
function configOf(over: RunInput): RunConfig {
  const { preset, ...input } = workspace.input(over)
  const base = presets[preset].config
  return runSchema.parse({
    ...input,
    model: {
      ...base.model,
      ...input.model,
      moe: input.model?.moe === null ? null : { ...base.model.moe, ...input.model?.moe },
    },
    train: { ...base.train, ...input.train },
  })
}

const routers: Record<string, NonNullable<RunInput['model']>['moe']> = {
  dense: null,
  'top-k': { k: 2 },
  switch: { router: 'switch' },
  prototype: { router: 'prototype', prototypes: 2, capacity: '1x' },
  hash: { router: 'hash' },
  random: { router: 'random' },
}

test.each(Object.entries(routers))(
  'a coin-toss chain is learned from its context, and not better than the coin allows: %s',
  async (name, moe) => {
    const config = configOf({
      model: { vocabulary: 257, moe },
      data: dataOf('chain'),
      train: { steps: 100, batch: 8, evalEvery: 100, evalBatches: 0, schedule },
    })
    const { evaluation } = await train(config, { directory: workspace.file(`chain ${name}`), resume: false })
    const loss = evaluation?.loss as number
    // All eight letters are equally frequent, so a model without context has a loss of ln 8 = 2.08 nats a letter.
    // With the rule, the loss is ln 2 = 0.69 (and about ln 500 at the end of each text, 0.02 a letter). Training must
    // reach half of that improvement. A loss below ln 2 means that the model sees the letter that it predicts.
    expect(loss).toBeLessThan((Math.log(8) + Math.log(2)) / 2)
    expect(loss).toBeGreaterThan(Math.log(2) * 0.98)
  },
)

test('`choir eval` repeats the last evaluation of the run exactly, at its capacity and at another', async () => {
  const last = evalRecords(memorised).at(-1)
  const recordOf = async (...more: string[]): Promise<unknown> => {
    const { stdout } = await expectSuccess(workspace.start('eval', memorised, '--json', ...more))
    const [line = '', ...others] = stdout.trimEnd().split('\n')
    expect(others).toEqual([])
    return JSON.parse(line)
  }
  expect(await recordOf('--capacity', 'eval')).toEqual({ ...last, version: 1 })
  expect(await recordOf()).toMatchObject({
    capacity: 'none',
    ...last?.capacities.none,
    capacities: last?.capacities,
  })
})

test('bits per byte count the UTF-8 bytes of the held-out documents with any tokenizer', async () => {
  // 40 documents of 300 two-byte letters; a quarter is held out: 10 × 600 bytes.
  const greek = (i: number) => {
    const random = randomFor(i, 'greek')
    return Array.from({ length: 300 }, () => 'αβγδεζηθ'[random.integer(8)]).join('')
  }
  documents('greek', 40, greek)
  for (const kind of ['bytes', 'bpe'] as const) {
    const config = configOf({
      model: { vocabulary: 280 },
      data: { ...dataOf('greek'), heldOut: 0.25, tokenizer: { kind } },
      train: { steps: 2, evalEvery: 2, evalBatches: 0 },
    })
    const { evaluation } = await train(config, { directory: workspace.file(`greek ${kind}`), resume: false })
    if (!evaluation) throw new Error('no evaluation')
    // Every document has a token for each byte, and an end-of-text token, which counts no byte.
    if (kind === 'bytes') expect(evaluation.evaluated_tokens).toBe(10 * 601)
    else expect(evaluation.evaluated_tokens).toBeLessThan(10 * 601)
    const nats = evaluation.loss * evaluation.evaluated_tokens
    expect(evaluation.bits_per_byte).toBeCloseTo(nats / Math.log(2) / 6000, 9)
  }
})

test('another corpus is evaluated as a whole, with the tokenizer of the run', async () => {
  const seen = await evaluateRun(memorised, {})
  const other = await evaluateRun(memorised, { source: workspace.file('chain.jsonl') })
  expect(seen.loss).toBeLessThan(0.5)
  // The model has never seen letters in this order.
  expect(other.loss).toBeGreaterThan(2)
})

test.each(['float32', 'int8'])(
  'temperature 0 continues a memorised text verbatim, far beyond the sequence, with %s weights',
  async (weights) => {
    const prompt = SENTENCE.slice(0, 20)
    const options = ['--tokens', '80', '--temperature', '0', '--weights', weights]
    const { stdout } = await expectSuccess(workspace.start('generate', memorised, '--prompt', prompt, ...options))
    expect(stdout).toBe(`${SENTENCE.repeat(3).slice(0, 100)}\n`)
  },
)

test('int8 weights change the loss by less than 0.01', async () => {
  const lossOf = async (weights: string): Promise<number> => {
    const { stdout } = await expectSuccess(workspace.start('eval', memorised, '--weights', weights, '--json'))
    return JSON.parse(stdout).loss
  }
  const [float32, int8] = [await lossOf('float32'), await lossOf('int8')]
  expect(int8).not.toBe(float32)
  expect(Math.abs(int8 - float32)).toBeLessThan(0.01)
})

const sampled = { prompt: 'The', tokens: 40, temperature: 2, topK: 0, topP: 1 }

async function generatedPieces(run: string, seed: number): Promise<string[]> {
  const found: string[] = []
  for await (const piece of generate(run, { ...sampled, seed })) found.push(piece)
  return found
}

test('a seed gives the same text again, and another seed gives another text, also with random routing', async () => {
  for (const run of [memorised, workspace.file('chain random')]) {
    const text = (await generatedPieces(run, 3)).join('')
    expect((await generatedPieces(run, 3)).join('')).toBe(text)
    expect((await generatedPieces(run, 4)).join('')).not.toBe(text)
  }
})

test('text is yielded token by token, and stops when the signal is aborted', async () => {
  const all = await generatedPieces(memorised, 3)
  // A token is a byte. Every token is a piece, except those within a multi-byte character.
  expect(all.length).toBeGreaterThan(sampled.tokens / 2)
  const controller = new AbortController()
  const some: string[] = []
  for await (const piece of generate(memorised, { ...sampled, seed: 3, signal: controller.signal })) {
    some.push(piece)
    if (some.length === 3) controller.abort()
  }
  // A piece with the rest of an incomplete character may follow.
  expect(some.slice(0, 3)).toEqual(all.slice(0, 3))
  expect(some.length).toBeLessThanOrEqual(4)
})
