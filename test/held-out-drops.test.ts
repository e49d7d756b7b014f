/**
 * Evaluation is like training: at the same capacity experts drop the same share of choices on held-out text as in
 * training. The text has documents in four alphabets, so experts specialise in alphabets; a held-out batch of one
 * document would overflow the expert of its alphabet.
 *
 * @slow
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mean } from 'd3-array'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunInput, runSchema } from '../src/core/config/run-config.ts'
import { moeSchema } from '../src/core/model/config/moe-config.ts'
import { randomFor } from '../src/core/random.ts'
import { train } from '../src/node/train/train.ts'
import type { EvalRecord, TrainRecord } from '../src/train/step/metrics/records.ts'

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>

const ALPHABETS = ['abcdefgh', 'ijklmnop', 'qrstuvwx', 'yz012345']
const STEPS = 160
const MEASURED = 80

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-drops-'))
  const lines = Array.from({ length: 120 }, (_, i) => {
    const random = randomFor(i, 'document')
    const alphabet = ALPHABETS[i % ALPHABETS.length] as string
    return JSON.stringify({ text: Array.from({ length: 600 }, () => alphabet[random.integer(8)]).join('') })
  })
  writeFileSync(join(folder, 'text.jsonl'), lines.join('\n'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const configOf = (moe: Moe) =>
  runSchema.parse({
    model: {
      ...{ vocabulary: 257, layers: 2, width: 32, heads: 2, sequence: 32, hidden: 64 },
      moe: { experts: 4, hidden: 64, factor: 1, evalFactor: 2, ...moe },
    },
    data: { source: join(folder, 'text.jsonl'), heldOut: 0.3, tokenizer: { kind: 'bytes' } },
    train: {
      ...{ steps: STEPS, batch: 16, evalEvery: STEPS, checkpointEvery: STEPS },
      schedule: { kind: 'constant', learningRate: 3e-3, warmup: 20 },
    },
  })

/** Shares of dropped choices: mean over the last steps of training, and in the last evaluation at training capacity. */
async function dropsOf(moe: Moe, directory: string) {
  await train(configOf(moe), { directory, resume: false })
  const lines = readFileSync(join(directory, 'metrics.jsonl'), 'utf8').trimEnd().split('\n')
  const records = lines.map((line) => JSON.parse(line) as TrainRecord | EvalRecord)
  const evaluation = records.findLast(({ kind }) => kind === 'eval') as EvalRecord
  const last = records.filter((record): record is TrainRecord => record.kind === 'train').slice(-MEASURED)
  return {
    training: mean(last, ({ drop_rate }) => drop_rate) as number,
    heldOut: evaluation.capacities.train.drop_rate,
  }
}

const routers: Readonly<Record<string, Moe>> = {
  'top-1': { k: 1 },
  'top-2': { k: 2 },
  'top-2 at 1x': { k: 2, capacity: '1x' },
  switch: { router: 'switch' },
  'two prototypes': { router: 'prototype', prototypes: 2 },
  bias: { router: 'bias', balance: { coefficient: 0 } },
  'expert-choice': { router: 'expert-choice' },
  hash: { router: 'hash' },
  'hash, two': { router: 'hash', k: 2 },
  random: { router: 'random' },
}

// The sinkhorn router balances the tokens of a pass in training only, so its evaluation drops more by design.
test.each(Object.entries(routers))('held-out text drops as many choices as training, by %s', async (name, moe) => {
  const { training, heldOut } = await dropsOf(moe, join(folder, name))
  console.info(`${name}: ${(100 * training).toFixed(2)} % in training, ${(100 * heldOut).toFixed(2)} % held out`)
  expect(Math.abs(heldOut - training)).toBeLessThan(0.03)
})

test('every router of ours that balances in evaluation as in training is among them', () => {
  const measured = Object.values(routers).map(({ router = 'top-k' }) => router)
  expect(new Set([...measured, 'sinkhorn', 'own'])).toEqual(new Set(moeSchema.shape.router.unwrap().options))
})
