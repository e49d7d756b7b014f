/** @slow */
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { evalRecords, expectSuccess, metricsWithoutTimes, prose, results, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

let runs = 0
async function run(over: RunInput): Promise<string> {
  const out = workspace.file(`run-${++runs}`)
  await expectSuccess(workspace.start('train', workspace.config(over), '--out', out, '--no-sample'))
  return out
}

/** A run that two tests compare with others. */
const seldomly = { evalEvery: 100, checkpointEvery: 100 }
let kept: Promise<string> | undefined
const seldom = (): Promise<string> => {
  kept ??= run({ train: seldomly })
  return kept
}

test('two runs of the same configuration have bitwise the same losses', async () => {
  const over: RunInput = {
    // The model is so wide that two threads could split a matmul differently in the second run.
    model: { vocabulary: 257, width: 64, hidden: 256, moe: { experts: 8, hidden: 256, k: 2 } },
    train: { batch: 8 },
    runtime: { threads: 2 },
  }
  const [first, second] = [await run(over), await run(over)]
  expect(trainRecords(first)).toHaveLength(20)
  expect(results(second)).toEqual(results(first))
})

test('another seed gives other losses', async () => {
  const first = trainRecords(await seldom())
  const second = trainRecords(await run({ train: { ...seldomly, seed: 1 } }))
  expect(first).toHaveLength(20)
  for (const [i, { loss }] of first.entries()) expect(second[i]?.loss).not.toBe(loss)
})

test('four micro-batches train like one if nothing is dropped', async () => {
  // The balancing loss is not a mean over tokens (but a product of two means), so it is off. Then runs differ only in
  // the order of float32 sums. The spacing of floats at a loss of 5.5 is 4.8e-7, so the first loss, a mean of equal
  // terms in another order, agrees within two spacings, and the first gradient norm within 2⁻²⁰. Every update may
  // move the next loss by another few spacings (Adam makes a full step of a gradient that is rounding noise, but such
  // a gradient does not change the loss), so after 20 steps losses agree within 40 spacings, 2e-5. If a part of a
  // batch were left out, or had twice its weight, losses would differ by more than 1e-2.
  const over = (microBatches: number): RunInput => ({
    model: { vocabulary: 257, moe: { capacity: 'none', k: 2, balance: { coefficient: 0 }, zLoss: 0 } },
    train: { microBatches, schedule: { kind: 'constant', learningRate: 1e-4, warmup: 0 } },
  })
  const [one, four] = [trainRecords(await run(over(1))), trainRecords(await run(over(4)))]
  expect(one).toHaveLength(20)
  for (const [i, record] of one.entries()) {
    expect(Math.abs((four[i]?.loss as number) - record.loss)).toBeLessThan(i === 0 ? 1e-6 : 2e-5)
    expect((four[i]?.grad_norm as number) / record.grad_norm).toBeCloseTo(1, i === 0 ? 6 : 5)
  }
})

test('resuming a finished run changes nothing, and with more steps gives the longer run', async () => {
  const over = (steps: number): RunInput => ({
    train: { steps, schedule: { kind: 'constant', learningRate: 3e-3, warmup: 5 } },
  })
  const [short, long] = [await run(over(20)), await run(over(30))]
  const before = results(short)
  await expectSuccess(workspace.start('train', '--resume', short))
  expect(results(short)).toEqual(before)
  await expectSuccess(workspace.start('train', '--resume', short, '--set', 'train.steps=30'))
  expect(results(short)).toEqual(results(long))
})

test('evaluating and saving more often changes no loss', async () => {
  const often = await run({ train: { evalEvery: 1, checkpointEvery: 1, routingEvery: 1 } })
  const training = (directory: string) => metricsWithoutTimes(directory).filter(({ kind }) => kind === 'train')
  expect(training(often)).toEqual(training(await seldom()))
  expect(evalRecords(often).at(-1)).toEqual(evalRecords(await seldom()).at(-1))
})

test('a run is not resumed if its text has changed', async () => {
  const corpus = workspace.file('changing.txt')
  writeFileSync(corpus, prose(2, 40_000))
  const directory = await run({ data: { source: corpus } })
  const before = results(directory)
  writeFileSync(corpus, prose(3, 40_000))
  const { code, stderr } = await workspace.choir('train', '--resume', directory, '--set', 'train.steps=25')
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('the text has changed since') })
  expect(results(directory)).toEqual(before)
  writeFileSync(corpus, prose(2, 40_000))
  await expectSuccess(workspace.start('train', '--resume', directory, '--set', 'train.steps=25'))
  expect(trainRecords(directory)).toHaveLength(25)
})
