import { expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../../core/config/run-config.ts'
import { randomFor } from '../../../core/random.ts'
import type { Ranks } from '../../../engine/contract/ranks.ts'
import { ranksInProcess } from '../../../engine/world/in-process/ranks.ts'
import { openRuntime } from '../../../node/run/session.ts'
import { groupDocuments } from '../../data/document-groups.ts'
import type { TokenStream } from '../../data/streams/token-stream.ts'
import { bytesTokenizer } from '../../data/tokenizer/tokenizer.ts'
import { initialize, initialScales } from '../store/initialize.ts'
import { createStore } from '../trainer.ts'
import { type Evaluation, Evaluator } from './evaluation.ts'

const tokenizer = bytesTokenizer()
const end = tokenizer.endOfText
const SEQUENCE = 8

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>
const tight: Moe = { experts: 4, hidden: 16, k: 2, factor: 0.5, evalFactor: 0.75 }
const configOf = (moe: Moe) =>
  runSchema.parse({
    model: { ...{ vocabulary: 300, layers: 2, width: 16, heads: 2, sequence: SEQUENCE }, moe },
    runtime: { threads: 1 },
  })

interface Text {
  readonly heldOut: TokenStream
  readonly names: readonly string[]
  readonly lengths: readonly number[]
}

/** Documents of random bytes, each with its end of text; the stream begins with an end of text. */
function textOf(documents: Readonly<Record<string, number>>): Text {
  const ids = [end]
  for (const [name, length] of Object.entries(documents)) {
    const random = randomFor(7, name)
    ids.push(...Array.from({ length: length - 1 }, () => random.integer(256)), end)
  }
  const stream = Int32Array.from(ids)
  return {
    heldOut: {
      length: stream.length,
      documents: Object.keys(documents).length,
      read: (offset, into) => into.set(stream.subarray(offset, offset + into.length)),
    },
    names: Object.keys(documents),
    lengths: Object.values(documents),
  }
}

interface Asked {
  readonly batch?: number
  readonly ranks?: Ranks | null
  readonly moe?: Moe
}

async function evaluate(text: Text, { batch = 2, ranks = null, moe = tight }: Asked = {}) {
  const config = configOf(moe)
  const runtime = await openRuntime(config)
  const store = createStore(runtime, config)
  await initialize(store, 1, initialScales(config))
  const evaluator = await Evaluator.compile(runtime, config.model, store, batch, 0, undefined, ranks)
  const groups = await groupDocuments({
    async *heldOutDocuments() {
      let start = 1
      for (const [i, name] of text.names.entries()) {
        const length = text.lengths[i] as number
        yield { name, start, length }
        start += length
      }
    },
  })
  try {
    const { evaluation } = await evaluator.run({ heldOut: text.heldOut, tokenizer }, 'none', 0, groups)
    return evaluation
  } finally {
    evaluator.release()
    await runtime.close()
  }
}

const rules = ['train', 'eval', 'none'] as const
const documentsOf = ({ documents }: Evaluation) => {
  if (!documents) throw new Error('no losses by document')
  return documents
}

test('a document has the loss that it has alone, if its windows hold no other document', async () => {
  const text = { 'a.jsonl:1': 2 * SEQUENCE, 'a.jsonl:2': SEQUENCE, 'b.jsonl:1': 3 * SEQUENCE }
  const { documents, groups, tokens, nats } = documentsOf(await evaluate(textOf(text)))
  expect({ documents, groups, tokens }).toEqual({ documents: 3, groups: [2, 1], tokens: [16, 8, 24] })
  const alone: number[] = []
  for (const [name, length] of Object.entries(text)) {
    const { loss, evaluated_tokens } = await evaluate(textOf({ [name]: length }), { batch: 1 })
    alone.push(loss * evaluated_tokens)
  }
  for (const [i, sum] of alone.entries()) expect(nats.none?.[i]).toBeCloseTo(sum, 3)
})

test('groups and domains add up to the whole text under every rule', async () => {
  const text = textOf({ 'a.jsonl:1': 19, 'b.jsonl:1': 5, 'a.jsonl:2': 31, 'c.jsonl:1': 2, 'b.jsonl:2': 1 })
  const evaluation = await evaluate(text)
  const { tokens, nats } = documentsOf(evaluation)
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  expect(sum(tokens)).toBe(evaluation.evaluated_tokens)
  const domains = evaluation.domains ?? []
  expect(domains.map(({ name, evaluated_tokens }) => [name, evaluated_tokens])).toEqual([
    ['a', 50],
    ['b', 6],
    ['c', 2],
  ])
  // Ends of text have no bytes.
  expect(domains.map(({ evaluated_bytes }) => evaluated_bytes)).toEqual([48, 4, 1])
  const losses = new Set<number>()
  for (const rule of rules) {
    const total = evaluation.capacities[rule].loss * evaluation.evaluated_tokens
    losses.add(total)
    expect(sum(nats[rule] ?? [])).toBeCloseTo(total, 3)
    expect(sum(domains.map((domain) => domain.losses[rule] * domain.evaluated_tokens))).toBeCloseTo(total, 3)
  }
  expect(losses.size).toBe(3)
})

test('losses of groups have the same bits on any number of ranks', async () => {
  const text = textOf({ 'a.jsonl:1': 43, 'b.jsonl:1': 21, 'a.jsonl:2': 60 })
  const one = await evaluate(text)
  for (const size of [2, 3]) {
    const all = await Promise.all(ranksInProcess(size).map((ranks) => evaluate(text, { ranks })))
    for (const evaluation of all) expect(evaluation).toEqual(one)
  }
})

test('rules that compute the same have one list of losses', async () => {
  const text = textOf({ 'a.jsonl:1': 19 })
  const moe = { experts: 4, hidden: 16, k: 2 } as const
  const rulesOf = async (given: object) =>
    Object.keys(documentsOf(await evaluate(text, { moe: { ...moe, ...given } })).nats)
  expect(await rulesOf({ capacity: 'none' })).toEqual(['train'])
  expect(await rulesOf({ factor: 0.5, evalFactor: 0.5 })).toEqual(['train', 'none'])
})

test('a text of one domain has no table of domains', async () => {
  expect((await evaluate(textOf({ 'a.jsonl:1': 19, 'a.jsonl:2': 9 }))).domains).toBeUndefined()
})
