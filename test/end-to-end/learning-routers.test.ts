/**
 * Trainings of further routers learn what their text allows; evaluation counts bytes, takes another corpus, and rounds.
 *
 * @slow
 */
import { expect, test } from 'vitest'
import { randomFor } from '../../src/core/random.ts'
import { train } from '../../src/node/train/train.ts'
import { evaluateRun } from '../../src/use/runs/evaluate.ts'
import { expectSeeded, learning } from './learning-runs.ts'
import { expectSuccess } from './support.ts'

const { workspace, memorised, documents, dataOf, configOf, learnChain, expectVerbatim } = learning()

const routers = {
  switch: { router: 'switch' },
  prototype: { router: 'prototype', prototypes: 2, capacity: '1x' },
  hash: { router: 'hash' },
} as const

test.each(Object.entries(routers))(
  'a coin-toss chain is learned from its context, and not better than the coin allows: %s',
  async (name, moe) => {
    await learnChain(name, moe)
  },
)

test('random routing learns the chain, and a seed gives the same text again', async () =>
  expectSeeded(await learnChain('random', { router: 'random' })))

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
    const { evaluation } = await train(config, { directory: workspace().file(`greek ${kind}`), resume: false })
    if (!evaluation) throw new Error('no evaluation')
    // Every document has a token for each byte, and an end-of-text token, which counts no byte.
    if (kind === 'bytes') expect(evaluation.evaluated_tokens).toBe(10 * 601)
    else expect(evaluation.evaluated_tokens).toBeLessThan(10 * 601)
    const nats = evaluation.loss * evaluation.evaluated_tokens
    expect(evaluation.bits_per_byte).toBeCloseTo(nats / Math.log(2) / 6000, 9)
  }
})

test('another corpus is evaluated as a whole, with the tokenizer of the run', async () => {
  const seen = await evaluateRun(memorised(), {})
  const other = await evaluateRun(memorised(), { source: workspace().file('chain.jsonl') })
  expect(seen.loss).toBeLessThan(0.5)
  // The model has never seen letters in this order.
  expect(other.loss).toBeGreaterThan(2)
})

test('temperature 0 continues a memorised text verbatim, far beyond the sequence, with int8 weights', () =>
  expectVerbatim('int8'))

test('int8 weights change the loss by less than 0.01', async () => {
  const lossOf = async (weights: string): Promise<number> => {
    const { stdout } = await expectSuccess(workspace().start('eval', memorised(), '--weights', weights, '--json'))
    return JSON.parse(stdout).loss
  }
  const [float32, int8] = [await lossOf('float32'), await lossOf('int8')]
  expect(int8).not.toBe(float32)
  expect(Math.abs(int8 - float32)).toBeLessThan(0.01)
})
