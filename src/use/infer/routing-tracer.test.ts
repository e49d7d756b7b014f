import { expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { hashTable } from '../../core/model/routing/hash.ts'
import { randomFor } from '../../core/random.ts'
import { openRuntime } from '../../node/run/session.ts'
import { heldOutBatches } from '../../train/data/batches.ts'
import type { DocumentWindow } from '../../train/data/document-windows.ts'
import type { TokenStream } from '../../train/data/streams/token-stream.ts'
import { bytesTokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { Evaluator } from '../../train/step/evaluation/evaluation.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import { createStore } from '../../train/step/trainer.ts'
import { type BatchTrace, RoutingTracer } from './routing-tracer.ts'

const sequence = 8
const shape = { vocabulary: 300, layers: 2, width: 16, heads: 2, sequence }
const random = randomFor(1, 'text')
const ids = Int32Array.from({ length: 65 }, () => random.integer(256))
const stream: TokenStream = {
  length: ids.length,
  documents: 1,
  read: (offset, into) => into.set(ids.subarray(offset, offset + into.length)),
}
/** The windows of the stream in the order of evaluation, because the batches decide which assignments are dropped. */
const windows = evaluatedStarts().map((start, document): DocumentWindow => ({ document, start, length: sequence }))

function evaluatedStarts(): number[] {
  const places: TokenStream = { ...stream, read: (offset, into) => into.set(into.map((_, i) => offset + i)) }
  const into = { tokens: new Int32Array(2 * sequence), targets: new Int32Array(2 * sequence) }
  const starts: number[] = []
  for (const _ of heldOutBatches(places, { batch: 2, sequence }, into))
    starts.push(into.tokens[0] as number, into.tokens[sequence] as number)
  return starts
}

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>

async function traced(moe: Moe, of: readonly DocumentWindow[] = windows, rule: CapacityRule = 'eval') {
  const config: RunConfig = runSchema.parse({
    data: anyVocabulary,
    model: { ...shape, moe: { hidden: 16, experts: 4, ...moe } },
    runtime: { threads: 1 },
  })
  const model = config.model as RunConfig['model'] & { readonly moe: MoeConfig }
  const runtime = await openRuntime(config)
  const store = createStore(runtime, config)
  await initialize(store, 1, initialScales(config))
  const evaluator = await Evaluator.compile(runtime, model, store, 2, 0)
  const tracer = await RoutingTracer.compile(runtime, model, store, {
    batch: 2,
    seed: 0,
    capacity: rule,
    separator: undefined,
    entropy: true,
  })
  try {
    const batches: BatchTrace[] = []
    for await (const batch of tracer.trace(stream, of)) batches.push(batch)
    return { batches, evaluated: await evaluator.run({ heldOut: stream, tokenizer: bytesTokenizer() }, rule) }
  } finally {
    tracer.release()
    evaluator.release()
    await runtime.close()
  }
}

/** Number of choices of each expert in a layer: all choices, and kept choices. */
function counts(batches: readonly BatchTrace[], index: number) {
  const [all, kept] = [new Float64Array(4), new Float64Array(4)]
  for (const { routers } of batches) {
    const { expert_TK, kept_TK } = routers[index] as BatchTrace['routers'][number]
    for (const [i, e] of expert_TK.entries()) {
      all[e] = (all[e] as number) + 1
      kept[e] = (kept[e] as number) + (kept_TK[i] as number)
    }
  }
  return { all, kept }
}

const tight = { capacity: 'kx', factor: 0.5, evalFactor: 0.75 } as const
const routings: [string, Moe][] = [
  ['top-2', { ...tight, k: 2 }],
  ['top-2, larger gates first', { ...tight, k: 2, priority: 'gate' }],
  ['two groups of tokens', { ...tight, k: 1, groups: 2 }],
  ['prototypes', { ...tight, router: 'prototype', prototypes: 2, k: 1 }],
  ['padded slots', { ...tight, k: 2, compute: 'padded' }],
  ['hash', { ...tight, router: 'hash' }],
  ['sigmoids in a group', { ...tight, k: 2, scores: 'sigmoid', expertGroups: 2 }],
  ['experts in attention', { ...tight, attention: 'all', k: 2 }],
  ['nothing dropped', { capacity: 'none', k: 2 }],
]

const rules = ['train', 'eval', 'none'] as const

for (const [name, moe] of routings)
  test.each(rules)(`${name}: a trace has the same loss, choices and drops as evaluation (%s)`, async (rule) => {
    const { batches, evaluated } = await traced(moe, windows, rule)
    expect(batches).toHaveLength(4)
    const loss = batches.reduce((sum, batch) => sum + batch.loss, 0) / batches.length
    expect(loss).toBeCloseTo(evaluated.evaluation.loss, 6)
    expect(batches[0]?.routers).toHaveLength(evaluated.layers.length)
    for (const [i, { layer, module, tokens, kept }] of evaluated.layers.entries()) {
      expect(batches[0]?.routers[i]).toMatchObject({ layer, module })
      expect(counts(batches, i)).toEqual({ all: tokens, kept })
    }
    if (moe.capacity === 'none' || rule === 'none') expect(evaluated.evaluation.drop_rate).toBe(0)
    else expect(evaluated.evaluation.drop_rate).toBeGreaterThan(0)
  })

test('with expert choice, every token has its top k experts if dropless, and all experts with a capacity', async () => {
  const moe: Moe = { router: 'expert-choice', k: 2 }
  const choices = async (rule: CapacityRule) =>
    (await traced(moe, windows, rule)).batches.map(({ token_T, routers }) =>
      routers.map(({ expert_TK }) => expert_TK.length / token_T.length),
    )
  expect(new Set((await choices('none')).flat())).toEqual(new Set([2]))
  expect(new Set((await choices('eval')).flat())).toEqual(new Set([4]))
})

test('each choice of a prototype is one of its experts, and its gates are between 0 and 1', async () => {
  const { batches } = await traced({ router: 'prototype', prototypes: 2, k: 2 })
  for (const { routers } of batches)
    for (const { expert_TK, gate_TK, prototypes } of routers) {
      expect(prototypes).toBe(2)
      for (const [i, expert] of expert_TK.entries()) expect(Math.floor(expert / 2)).toBe(Math.floor((i % 4) / 2))
      for (const gate of gate_TK) expect(gate > 0 && gate < 1).toBe(true)
    }
})

test('the experts of a token are in its groups, and its gates sum to the scale', async () => {
  const groups = { router: 'bias', expertGroups: 2, groupScore: 'top-2' } as const
  const { batches } = await traced({ ...groups, k: 2, scores: 'sigmoid', renormalize: true, routedScale: 2.5 })
  for (const { routers } of batches)
    for (const { expert_TK, gate_TK } of routers)
      for (let i = 0; i < expert_TK.length; i += 2) {
        expect(Math.floor((expert_TK[i] as number) / 2)).toBe(Math.floor((expert_TK[i + 1] as number) / 2))
        expect((gate_TK[i] as number) + (gate_TK[i + 1] as number)).toBeCloseTo(2.5, 5)
      }
})

test('the choices of a hash router are the entries of its table', async () => {
  const { batches } = await traced({ router: 'hash', k: 2 })
  for (const { routers, token_T } of batches)
    for (const { layer, expert_TK, gate_TK } of routers) {
      const table = hashTable(shape.vocabulary, 4, 2, layer)
      expect([...expert_TK]).toEqual([...token_T].flatMap((token) => [...table.subarray(token * 2, token * 2 + 2)]))
      expect(new Set(gate_TK)).toEqual(new Set([0.5]))
    }
})

test('the choices of a random router are random draws: all experts occur, and a token has distinct experts', async () => {
  const { batches } = await traced({ router: 'random', k: 2, capacity: 'none' })
  for (const i of [0, 1]) {
    for (const { routers } of batches) {
      const { expert_TK } = routers[i] as BatchTrace['routers'][number]
      for (let t = 0; t < expert_TK.length; t += 2) expect(expert_TK[t]).not.toBe(expert_TK[t + 1])
    }
    expect(Math.min(...counts(batches, i).all)).toBeGreaterThan(0)
  }
  expect(batches[0]?.routers[0]?.expert_TK).not.toEqual(batches[1]?.routers[0]?.expert_TK)
})

test('filler repeats windows and is not counted', async () => {
  const short: DocumentWindow[] = [
    { document: 0, start: 0, length: 8 },
    { document: 1, start: 20, length: 3 },
    { document: 2, start: 40, length: 5 },
  ]
  const { batches } = await traced({ k: 1, capacity: 'none' }, short)
  const [first, last] = batches as [BatchTrace, BatchTrace]
  expect(batches.map(({ windows }) => windows)).toEqual([short.slice(0, 2), short.slice(2)])
  expect([...first.document_T]).toEqual([...Array(8).fill(0), 1, 1, 1, -1, -1, -1, -1, -1])
  expect([...last.document_T]).toEqual([...Array(5).fill(2), ...Array(11).fill(-1)])
  const text = (start: number, length: number) => Array.from({ length: 8 }, (_, s) => ids[start + (s % length)])
  expect([...first.token_T]).toEqual([...text(0, 8), ...text(20, 3)])
  expect([...last.token_T]).toEqual([...text(40, 5), ...text(40, 5)])
})
