import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunInput } from '../../src/train/config.ts'
import { finished, results, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

let runs = 0
async function run(over: RunInput): Promise<string> {
  const out = workspace.file(`run-${++runs}`)
  await finished(workspace.start('train', workspace.config(over), '--out', out, '--no-sample'))
  return out
}

test.each([1, 2])('the same configuration twice gives the same losses to the last bit, with threads: %i', async (threads) => {
  const over: RunInput = {
    // Wide enough that a matmul of the second run could be cut elsewhere over two threads.
    model: { vocabulary: 257, width: 64, hidden: 256, moe: { experts: 8, hidden: 256, k: 2 } },
    train: { batch: 8 },
    runtime: { threads },
  }
  const [first, second] = [await run(over), await run(over)]
  expect(trainRecords(first)).toHaveLength(20)
  expect(results(second)).toEqual(results(first))
})

test('another seed gives other losses', async () => {
  const first = trainRecords(await run({ train: { steps: 3 } }))
  const second = trainRecords(await run({ train: { steps: 3, seed: 1 } }))
  for (const [i, { loss }] of first.entries()) expect(second[i]?.loss).not.toBe(loss)
})

test('two micro-batches add up to the same training as one when nothing is dropped', async () => {
  // The balancing loss is no mean over tokens (a product of two means), so it is off. What is left differs
  // in the order of float32 sums alone: relative 2⁻²⁴ ≈ 6e-8 an addition, over 128 tokens and 64 terms of
  // a dot product at most about 1e-5 in a gradient. Adam divides by the gradient's size, which moves a
  // parameter by at most 2 · rate when the sign of a tiny gradient flips: after 20 steps of rate 1e-4 a
  // loss of about 5 has moved by some 0.05 in all, and a millionth of the parameters flips. 1e-3 is
  // generous for that; a wrong factor of 2 in the first gradient would show in grad_norm at once.
  const over = (microBatches: number): RunInput => ({
    model: { vocabulary: 257, moe: { capacity: 'none', k: 2, balance: { coefficient: 0 }, zLoss: 0 } },
    train: { microBatches, schedule: { kind: 'constant', learningRate: 1e-4, warmup: 0 } },
  })
  const [one, two, four] = [await run(over(1)), await run(over(2)), await run(over(4))].map(trainRecords)
  for (const parts of [two, four])
    for (const [i, record] of (one ?? []).entries()) {
      expect(Math.abs((parts?.[i]?.loss as number) - record.loss)).toBeLessThan(i === 0 ? 1e-5 : 1e-3)
      expect((parts?.[i]?.grad_norm as number) / record.grad_norm).toBeCloseTo(1, i === 0 ? 4 : 2)
    }
})
