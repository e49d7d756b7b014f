import { describe, expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../../core/config/run-config.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { randomFor } from '../../../core/random.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { tokenizerFromJson } from '../../../node/data/tokenizer/native-tokenizer.ts'
import { openRuntime } from '../../../node/run/session.ts'
import type { TokenStream } from '../../data/streams/token-stream.ts'
import { bytesTokenizer } from '../../data/tokenizer/tokenizer.ts'
import { initialize, initialScales } from '../store/initialize.ts'
import type { ParameterStore } from '../store/store.ts'
import { createStore } from '../trainer.ts'
import { type EvaluationResult, Evaluator } from './evaluation.ts'

const tokenizer = tokenizerFromJson(bytesTokenizer().json)
const end = tokenizer.endOfText

/** Two documents of 30 and 20 bytes with an end of text before the first and after each: 52 targets. */
const ids = Int32Array.from([end, ...Buffer.from('a'.repeat(30)), end, ...Buffer.from('byte'.repeat(5)), end])
const heldOut: TokenStream = {
  length: ids.length,
  documents: 2,
  read: (offset, into) => into.set(ids.subarray(offset, offset + into.length)),
}

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>

const configOf = (moe: Moe | null): RunConfig =>
  runSchema.parse({
    model: {
      vocabulary: 300,
      layers: 2,
      width: 16,
      heads: 2,
      sequence: 8,
      moe: moe && { experts: 4, hidden: 16, ...moe },
    },
    runtime: { threads: 1 },
  })

interface Asked {
  readonly moe?: Moe | null
  readonly batch?: number
  readonly prepare?: (store: ParameterStore) => Promise<void>
  readonly rule?: CapacityRule
  readonly limit?: number
}

async function evaluate({ text = heldOut, ...asked }: Asked & { readonly text?: TokenStream }) {
  const { results, compiled, runs } = await evaluateAll(asked, [text])
  return { ...(results[0] as EvaluationResult), compiled, runs }
}

async function evaluateAll(asked: Asked, texts: readonly TokenStream[]) {
  const { moe = { k: 2, capacity: 'none' }, batch = 2, prepare = random, rule = 'eval' } = asked
  const config = configOf(moe)
  const runtime = await openRuntime(config)
  const store = createStore(runtime, config)
  await prepare(store)
  const counted = counting(runtime)
  const evaluator = await Evaluator.compile(counted.runtime, config.model, store, batch, 0)
  try {
    const results: EvaluationResult[] = []
    for (const heldOut of texts) results.push(await evaluator.run({ heldOut, tokenizer }, rule, asked.limit))
    return { results, ...counted.counts }
  } finally {
    evaluator.release()
    await runtime.close()
  }
}

/** A runtime that counts compilations and runs. */
function counting(runtime: Runtime) {
  const counts = { compiled: 0, runs: 0 }
  const compile: Runtime['compile'] = async (program) => {
    counts.compiled++
    const executable = await runtime.compile(program)
    const bind = executable.bind.bind(executable)
    executable.bind = (buffers, within) => {
      const binding = bind(buffers, within)
      const run = binding.run.bind(binding)
      binding.run = () => {
        counts.runs++
        return run()
      }
      return binding
    }
    return executable
  }
  return { counts, runtime: { ...runtime, kernels: runtime.kernels, compile } }
}

const nothing = async (store: ParameterStore) => {
  for (const { name } of store.specs) floatsOf(store.parameter(name)).fill(0)
}
const random = (store: ParameterStore) => initialize(store, 1, initialScales(configOf(null)))

test('an uninformed model has a loss of ln V per token; bits per byte exclude end-of-text tokens', async () => {
  const { evaluation } = await evaluate({ prepare: nothing })
  expect(evaluation.evaluated_tokens).toBe(52)
  expect(evaluation.loss).toBeCloseTo(Math.log(300), 6)
  expect(evaluation.bits_per_byte).toBeCloseTo((52 * Math.log2(300)) / 50, 5)
})

test('the loss without capacity does not depend on the batch size, whether it divides the text or not', async () => {
  const whole = await evaluate({ batch: 7 })
  for (const batch of [1, 2, 3]) {
    const { evaluation } = await evaluate({ batch })
    expect(evaluation.evaluated_tokens).toBe(52)
    expect(evaluation.loss).toBeCloseTo(whole.evaluation.loss, 5)
    expect(evaluation.bits_per_byte).toBeCloseTo(whole.evaluation.bits_per_byte, 5)
  }
})

/** Two batches are four of the seven windows: 32 targets, or 28 with the last window, and at most two ends of text. */
function expectFourWindows(tokens: number, bitsPerByte: number): void {
  expect([28, 32]).toContain(tokens)
  const ends = tokens - (tokens * Math.log2(300)) / bitsPerByte
  expect(ends).toBeCloseTo(Math.round(ends), 3)
  expect([0, 1, 2]).toContain(Math.round(ends))
}

test('a limit evaluates that many batches', async () => {
  const { evaluation } = await evaluate({ prepare: nothing, limit: 2 })
  expectFourWindows(evaluation.evaluated_tokens, evaluation.bits_per_byte)
})

const rules = ['train', 'eval', 'none'] as const
const choosing = (factor: number, evalFactor: number): Moe => ({ router: 'expert-choice', k: 2, factor, evalFactor })
const tight = { k: 2, factor: 0.5, evalFactor: 0.75 } as const

const letters = randomFor(1, 'texts')
/** Texts of one window each: an end of text and seven bytes. */
const texts = Array.from({ length: 4 }, () => [end, ...Array.from({ length: 7 }, () => letters.integer(256))])
const streamOf = (...chosen: readonly number[]): TokenStream => {
  const ids = Int32Array.from([...chosen.flatMap((i) => texts[i] as number[]), end])
  return {
    length: ids.length,
    documents: chosen.length,
    read: (offset, into) => into.set(ids.subarray(offset, offset + into.length)),
  }
}

describe('under three capacity rules', () => {
  test.each<[string, Moe | null, number]>([
    ['two factors and none are three programs', tight, 3],
    ['equal factors share one', { ...tight, evalFactor: 0.5 }, 2],
    ['factors that mean the same capacity share one', { k: 1, factor: 1.01, evalFactor: 1.2 }, 2],
    ['room for every token is as good as no limit', { k: 2, factor: 1.25, evalFactor: 2 }, 2],
    ['without capacity there is one', { k: 2, capacity: 'none' }, 1],
    ['a dense model has one', null, 1],
    ['where experts choose, room for every token is still not the choice of tokens', choosing(4, 4), 2],
  ])('%s', async (_, moe, programs) => {
    const { compiled, runs, evaluation } = await evaluate({ moe })
    // 52 targets in batches of 16.
    expect({ compiled, runs }).toEqual({ compiled: programs, runs: 4 * programs })
    expect(new Set(Object.values(evaluation.capacities).map(({ loss }) => loss)).size).toBe(programs)
  })

  test('the main fields of the record belong to the requested rule, and the record has all three rules', async () => {
    const records = await Promise.all(rules.map(async (rule) => (await evaluate({ moe: tight, rule })).evaluation))
    for (const [i, record] of records.entries()) {
      expect(record.capacity).toBe(rules[i])
      expect(record.capacities).toEqual(records[0]?.capacities)
      expect(record).toMatchObject(record.capacities[record.capacity])
    }
    const { train, eval: evaluated, none } = records[0]?.capacities ?? {}
    expect(train?.drop_rate).toBeGreaterThan(evaluated?.drop_rate ?? 1)
    expect(evaluated?.drop_rate).toBeGreaterThan(0)
    expect(train?.unserved_rate).toBeGreaterThan(0)
    expect(none).toMatchObject({ drop_rate: 0, unserved_rate: 0 })
  })

  test('swapping the training and evaluation factors swaps their results', async () => {
    const one = await evaluate({ moe: tight })
    const other = await evaluate({ moe: { ...tight, factor: tight.evalFactor, evalFactor: tight.factor } })
    const { train, eval: evaluated, none } = one.evaluation.capacities
    expect(other.evaluation.capacities).toEqual({ train: evaluated, eval: train, none })
  })

  test('a limit applies to all three rules', async () => {
    const { evaluation, runs } = await evaluate({ moe: tight, prepare: nothing, limit: 2 })
    expect(runs).toBe(6)
    for (const { loss, bits_per_byte } of Object.values(evaluation.capacities)) {
      expect(loss).toBeCloseTo(Math.log(300), 6)
      expectFourWindows(evaluation.evaluated_tokens, bits_per_byte)
    }
  })

  // C = 30 of 32 tokens, or 15 of 16 in each of two groups: programs with queues, in which no expert is full.
  const wide = { factor: 3.75, evalFactor: 3.75, priority: 'choice' } as const
  test.each<[string, Moe]>([
    ['top-k', { ...wide, k: 1 }],
    ['sinkhorn, which chooses plainly outside training', { ...wide, router: 'sinkhorn' }],
    ['bias', { ...wide, router: 'bias' }],
    ['hash', { ...wide, router: 'hash' }],
    ['random, with the same draws', { ...wide, router: 'random' }],
    [
      'prototypes',
      { ...wide, router: 'prototype', experts: 8, prototypes: 2, capacity: '1x', factor: 7.5, evalFactor: 7.5 },
    ],
    ['groups and padded slots', { ...wide, groups: 2, compute: 'padded' }],
  ])('a limit that no expert reaches changes nothing: %s', async (_, moe) => {
    const { evaluation, compiled } = await evaluate({
      moe: { ...moe, attention: 'all' },
      batch: 4,
      text: streamOf(0, 1, 2, 3),
    })
    const { train, none } = evaluation.capacities
    expect(compiled).toBe(2)
    expect(train.drop_rate).toBe(0)
    expect(Math.abs(train.loss - none.loss)).toBeLessThan(1e-6)
  })

  test('with expert choice, dropless means that every token takes its top k, as in generation', async () => {
    const { evaluation } = await evaluate({ moe: choosing(1, 1) })
    const byTokens = await evaluate({ moe: { k: 2, capacity: 'none' } })
    expect(evaluation.capacities.none).toEqual(byTokens.evaluation.capacities.none)
    expect(evaluation.capacities.train.loss).not.toBe(evaluation.capacities.none.loss)
  })
})

describe('a text among other texts', () => {
  const pairs = [
    [0, 1],
    [0, 2],
    [0, 3],
    [1, 2],
    [1, 3],
    [2, 3],
  ] as const

  test.each<[string, Moe]>([
    ['top-2', tight],
    ['prototypes at 1x', { router: 'prototype', prototypes: 2, capacity: '1x', factor: 1, evalFactor: 1.25 }],
    ['by gate', { ...tight, priority: 'gate' }],
    ['bias', { ...tight, router: 'bias' }],
    ['sinkhorn', { ...tight, router: 'sinkhorn' }],
    ['hash', { ...tight, router: 'hash' }],
    ['expert choice', choosing(1, 1.5)],
    ['experts in attention', { ...tight, attention: 'all' }],
  ])('has the same loss as alone if dropless, but not at a capacity: %s', async (_, moe) => {
    const { results } = await evaluateAll(
      { moe },
      pairs.map((pair) => streamOf(...pair)),
    )
    const alone = (await evaluate({ moe, text: streamOf(0), batch: 1 })).evaluation.capacities
    const lossOf = (rule: CapacityRule, one: number, other: number) =>
      results[pairs.findIndex((pair) => pair[0] === one && pair[1] === other)]?.evaluation.capacities[rule].loss ?? NaN
    // A mean over two texts is half their sum: three pairs give the loss of text 0 in that company.
    const changes = (rule: CapacityRule) =>
      (
        [
          [1, 2],
          [1, 3],
          [2, 3],
        ] as const
      ).map(([a, b]) => Math.abs(lossOf(rule, 0, a) + lossOf(rule, 0, b) - lossOf(rule, a, b) - alone[rule].loss))
    expect(Math.max(...changes('none'))).toBeLessThan(2e-6)
    for (const rule of ['train', 'eval'] as const) expect(Math.max(...changes(rule))).toBeGreaterThan(1e-4)
  })
})
