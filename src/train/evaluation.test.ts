import { expect, test } from 'vitest'
import type { TokenStream } from '../data/index.ts'
import { tokenizerFromJson } from '../data/index.ts'
import { bytesTokenizer } from '../data/tokenizer.ts'
import { type RunConfig, runSchema } from './config.ts'
import { Evaluator } from './evaluation.ts'
import { initialize, initialScales } from './initialize.ts'
import { openRuntime } from './session.ts'
import type { ParameterStore } from './store.ts'
import { createStore } from './trainer.ts'

const tokenizer = tokenizerFromJson(bytesTokenizer().json)
const end = tokenizer.endOfText

/** Two documents of 30 and 20 bytes with the end of text before the first and after each: 52 targets. */
const ids = Int32Array.from([end, ...Buffer.from('a'.repeat(30)), end, ...Buffer.from('byte'.repeat(5)), end])
const heldOut: TokenStream = {
  length: ids.length,
  documents: 2,
  read: (offset, into) => into.set(ids.subarray(offset, offset + into.length)),
}

const config: RunConfig = runSchema.parse({
  model: {
    vocabulary: 300,
    layers: 2,
    width: 16,
    heads: 2,
    sequence: 8,
    moe: { experts: 4, hidden: 16, k: 2, capacity: 'none' },
  },
  runtime: { threads: 1 },
})

async function evaluate(batch: number, prepare: (store: ParameterStore) => Promise<void>, limit = 0) {
  const runtime = await openRuntime(config)
  const store = createStore(config)
  await prepare(store)
  const evaluator = await Evaluator.compile(runtime, config.model, store, batch, 0)
  try {
    return await evaluator.run({ heldOut, tokenizer }, limit)
  } finally {
    evaluator.release()
    await runtime.close()
  }
}

const nothing = async (store: ParameterStore) => {
  for (const { name } of store.specs) store.parameter(name).fill(0)
}
const random = (store: ParameterStore) => initialize(store, 1, initialScales(config))

test('a model that knows nothing pays ln V a token, over the bytes of the text and not its ends', async () => {
  const { evaluation } = await evaluate(2, nothing)
  expect(evaluation.evaluated_tokens).toBe(52)
  expect(evaluation.loss).toBeCloseTo(Math.log(300), 6)
  expect(evaluation.bits_per_byte).toBeCloseTo((52 * Math.log2(300)) / 50, 5)
})

test('the loss without capacity does not depend on the batch, whether it divides the text or not', async () => {
  const whole = await evaluate(7, random)
  for (const batch of [1, 2, 3]) {
    const { evaluation } = await evaluate(batch, random)
    expect(evaluation.evaluated_tokens).toBe(52)
    expect(evaluation.loss).toBeCloseTo(whole.evaluation.loss, 5)
    expect(evaluation.bits_per_byte).toBeCloseTo(whole.evaluation.bits_per_byte, 5)
  }
})

test('a limit evaluates so many batches from the beginning', async () => {
  // 2 × 8 targets a batch: the first two hold 30 bytes, one end and one byte more.
  const { evaluation } = await evaluate(2, nothing, 2)
  expect(evaluation.evaluated_tokens).toBe(32)
  expect(evaluation.bits_per_byte).toBeCloseTo((32 * Math.log2(300)) / 31, 5)
})
