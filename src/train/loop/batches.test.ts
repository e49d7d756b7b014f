import { expect, test } from 'vitest'
import { runSchema } from '../../core/config/run-config.ts'
import { trainBatch } from '../data/batches.ts'
import { Batches } from './batches.ts'

const config = runSchema.parse({
  model: { sequence: 4, width: 8, heads: 2, vocabulary: 300 },
  data: { seed: 5 },
  train: { steps: 6, batch: 2 },
})
const tokens = Int32Array.from({ length: 50 }, (_, i) => i)
let reads = 0
const train = {
  length: tokens.length,
  documents: 1,
  read(offset: number, into: Int32Array) {
    reads++
    into.set(tokens.subarray(offset, offset + into.length))
  },
}
const expected = (step: number) => {
  const batch = { tokens: new Int32Array(8), targets: new Int32Array(8) }
  trainBatch(train, { batch: 2, sequence: 4 }, 5, step - 1, batch)
  return batch
}

test('the batch of a step is the same whether it was loaded ahead or not', () => {
  const ahead = new Batches({ train }, config)
  for (let step = 1; step <= 6; step++) {
    const batch = ahead.of(step)
    ahead.load(step + 1)
    expect(batch).toMatchObject(expected(step))
    // Batches that begin at this step, as in a resumed run.
    expect(new Batches({ train }, config).of(step)).toMatchObject(expected(step))
  }
})

test('a batch is read once, and no batch is read after the last step', () => {
  const batches = new Batches({ train }, config)
  batches.load(6)
  const before = reads
  batches.of(6)
  batches.load(7)
  expect(reads).toBe(before)
})
