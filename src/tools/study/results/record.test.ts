/** Records of runs, from logs whose records are worked out by hand. */
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { describeModel } from '../../../core/model/describe.ts'
import { randomFor } from '../../../core/random.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import { NUMERICS } from '../grid/numerics.ts'
import { atCapacity } from '../held-out.ts'
import { heldOut } from '../testing/records.ts'
import { describeMachine, noteProcess, recordOf } from './record.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-record-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const lossesOf = (loss: number) => ({ train: loss, eval: loss, none: loss })

const lines = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('')

const step = (step: number, more: object = {}) => ({
  kind: 'train',
  step,
  loss: 5 - step / 10,
  step_ms: 500,
  load_cv: step,
  load_cv_kept: step / 2,
  drop_rate: 0.25,
  dead_experts: 1,
  ...more,
})

/** A routing line with the tokens that each of four experts gets and keeps, of 128. */
const routing = (step: number, layer: number, tokens: readonly number[], kept: readonly number[], module = 'ffn') => ({
  step,
  layer,
  module,
  tokens_per_expert: tokens,
  kept_per_expert: kept,
  load_cv: step,
  load_cv_kept: 1,
  drop_rate: 0.5,
  gate_entropy: 1,
})

/** The record of a tiny run of 4 steps of 128 tokens. */
async function recorded(
  metrics: readonly object[],
  routed: readonly object[],
  sets: string[] = [],
  evaluation: EvalRecord = heldOut,
) {
  await writeFile(join(folder, 'metrics.jsonl'), lines(metrics))
  await writeFile(join(folder, 'routing.jsonl'), lines(routed))
  const config = await loadConfig('tiny', ['train.steps=4', ...sets])
  const facts = {
    key: 'k',
    seed: 1,
    corpus: 'c',
    elsewhere: {},
    elsewhereCorpora: {},
    leak: { train: null, eval: null },
  }
  return { config, record: await recordOf(folder, { ...facts, config, heldOut: evaluation }) }
}

test('steps, times, evaluations and means match the logs', async () => {
  const at = { loss: 4.7, bits_per_byte: 1, drop_rate: 0, unserved_rate: 0 }
  const evaluation = { kind: 'eval', step: 2, loss: 4.7, capacities: { train: at, eval: at, none: at } }
  const { record } = await recorded([step(1), step(2), evaluation, step(3), step(4)], [])
  expect(record.tokens).toBe(4 * 128)
  expect(record.seconds).toBe(2)
  expect(record.train).toEqual({ step: [1, 2, 3, 4], loss: [4.9, 4.8, 4.7, 4.6] })
  expect(record.evaluations).toEqual([{ step: 2, seconds: 1, loss: 4.7, losses: { train: 4.7, eval: 4.7, none: 4.7 } }])
  // The last quarter is the last of four steps.
  expect(record.routing).toEqual({ loadCv: 4, loadCvKept: 2, dropRate: 0.25, deadExperts: 1 })
})

test('an evaluation keeps all digits of its losses under every rule, and six of other numbers', async () => {
  const { record } = await recorded(
    [1, 2, 3, 4].map((at) => step(at)),
    [],
  )
  expect(record.heldOut).toEqual({
    ...heldOut,
    capacities: {
      train: { loss: 4.512345678, bits_per_byte: 1.71235, drop_rate: 0.0212346, unserved_rate: 0.01 },
      eval: { loss: 4.5, bits_per_byte: 1.7, drop_rate: 0.01, unserved_rate: 0 },
      none: { loss: 4.487654321, bits_per_byte: 1.6, drop_rate: 0, unserved_rate: 0 },
    },
  })
})

test('losses by document fit in two kilobytes, and differences of 0.001 nats a token survive', async () => {
  const random = randomFor(1, 'documents')
  const tokens = Array.from({ length: 64 }, () => 10_000 + random.integer(50_000))
  const losses = tokens.map(() => 2 + 3 * random.uniform())
  const stored = async (more: number) => {
    const nats = tokens.map((count, group) => count * ((losses[group] ?? 0) + more))
    const documents = { documents: 5000, groups: [40, 24], tokens, nats: { train: nats, eval: nats, none: nats } }
    const domains = [{ name: 'a', evaluated_tokens: 1_234_567, evaluated_bytes: 3_456_789, losses: lossesOf(1 / 3) }]
    const steps = [1, 2, 3, 4].map((at) => step(at))
    const { record } = await recorded(steps, [], [], { ...heldOut, domains, documents })
    expect(record.heldOut.domains).toEqual(domains)
    expect(record.heldOut.documents).toMatchObject({ documents: 5000, groups: [40, 24], tokens })
    expect(JSON.stringify(record.heldOut.documents).length).toBeLessThan(2048)
    return record.heldOut.documents?.nats.train ?? []
  }
  const [less, more] = [await stored(0), await stored(0.001)]
  const all = tokens.reduce((sum, count) => sum + count, 0)
  const difference = more.reduce((sum, nats, group) => sum + nats - (less[group] ?? 0), 0) / all
  expect(Math.abs(difference - 0.001)).toBeLessThan(0.00001)
})

test('evaluations keep the loss under each capacity rule, and are omitted under a rule with no finite loss', async () => {
  const at = (loss: number | null) => ({ loss, bits_per_byte: 1, drop_rate: 0, unserved_rate: 0 })
  const evaluation = (step: number, train: number | null) => ({
    kind: 'eval',
    step,
    loss: 4.7,
    capacities: { train: at(train), eval: at(4.7), none: at(4.6) },
  })
  const { record } = await recorded([step(1), step(2), evaluation(2, 4.9), step(3), evaluation(3, null), step(4)], [])
  expect(record.evaluations[0]).toEqual({
    step: 2,
    seconds: 1,
    loss: 4.7,
    losses: { train: 4.9, eval: 4.7, none: 4.6 },
  })
  const stored = JSON.parse(JSON.stringify(record)) as typeof record
  const losses = (rule: 'train' | 'eval' | 'none') => atCapacity(stored, rule).evaluations.map(({ loss }) => loss)
  expect([losses('train'), losses('eval'), losses('none')]).toEqual([[4.9], [4.7, 4.7], [4.6, 4.6]])
  const { heldOut: atTraining, elsewhere } = atCapacity({ ...record, elsewhere: { other: record.heldOut } }, 'train')
  expect([atTraining, elsewhere.other]).toEqual(
    Array.from({ length: 2 }, () => expect.objectContaining({ capacity: 'train', ...record.heldOut.capacities.train })),
  )
})

test('a record names its machine, program and engine, and lists all if another machine continued the run', async () => {
  noteProcess(folder, 'oneDNN 3.7.2, float32, 1 thread')
  noteProcess(folder, 'oneDNN 3.7.2, float32, 1 thread')
  const steps = [1, 2, 3, 4].map((at) => step(at))
  const { record } = await recorded(steps, [])
  expect(record).toMatchObject({ machine: describeMachine(), engine: 'oneDNN 3.7.2, float32, 1 thread' })
  const { version } = JSON.parse(await readFile(new URL('../../../../package.json', import.meta.url), 'utf8'))
  expect(record).toMatchObject({ program: version, version: NUMERICS })
  const elsewhere = { machine: 'Another CPU', program: version, engine: 'ONNX Runtime alone, float32, 1 thread' }
  await appendFile(join(folder, 'provenance.jsonl'), `${JSON.stringify(elsewhere)}\n`)
  const { record: continued } = await recorded(steps, [])
  expect(continued.machine).toBe(`${describeMachine()}; Another CPU`)
  expect(continued.engine).toBe('oneDNN 3.7.2, float32, 1 thread; ONNX Runtime alone, float32, 1 thread')
  expect(continued.program).toBe(version)
})

test('FLOPs count kept assignments only, at the cost of their module', async () => {
  const routed = [1, 3].flatMap((at) => [
    routing(at, 0, [128, 0, 0, 0], [64, 0, 0, 0]),
    routing(at, 0, [32, 32, 32, 32], [32, 32, 32, 32], 'qkv'),
    routing(at, 1, [64, 64, 0, 0], [32, 32, 0, 0]),
    routing(at, 1, [32, 32, 32, 32], [32, 32, 32, 32], 'qkv'),
  ])
  const { config, record } = await recorded(
    [1, 2, 3, 4].map((at) => step(at)),
    routed,
    ['model.moe.attention=qkv'],
  )
  const { denseFlopsPerToken, flopsPerAssignment, flopsPerToken } = describeModel(config.model)
  // In each of two layers a token has half an assignment to a feed-forward expert, and a whole one to a projection.
  const perToken = denseFlopsPerToken + 2 * 0.5 * flopsPerAssignment.ffn + 2 * flopsPerAssignment.qkv
  expect(record.trainFlops).toBeCloseTo(512 * perToken, 0)
  expect(record.trainFlops).toBeLessThan(512 * flopsPerToken)
})

test('routing is recorded by layer and module, with shares of the load that sum to 1', async () => {
  const routed = [routing(1, 0, [100, 28, 0, 0], [1, 1, 1, 1]), routing(2, 0, [0, 0, 64, 64], [1, 1, 1, 1])]
  const { record } = await recorded(
    [1, 2, 3, 4].map((at) => step(at)),
    routed,
  )
  expect(record.layers).toHaveLength(1)
  expect(record.layers[0]).toMatchObject({
    layer: 0,
    module: 'ffn',
    step: [1, 2],
    loadCv: [1, 2],
    dropRate: [0.5, 0.5],
  })
  expect(record.layers[0]?.load[1]).toEqual([0, 0, 0.5, 0.5])
})

test('gates are recorded by layer and module, and are missing if a log lacks them', async () => {
  const at = (step: number, layer: number, gate_mean: number | undefined, gate_entropy: number | null) => ({
    ...routing(step, layer, [32, 32, 32, 32], [32, 32, 32, 32]),
    ...(gate_mean !== undefined && { gate_mean }),
    gate_entropy,
  })
  const steps = [1, 2, 3, 4].map((one) => step(one))
  const { record } = await recorded(steps, [at(1, 0, 0.25, 1.25), at(1, 1, 0.5, 1), at(2, 0, 0.375, 1), at(2, 1, 1, 1)])
  expect(record.layers.map(({ gate }) => gate)).toEqual([
    [0.25, 0.375],
    [0.5, 1],
  ])
  // A router without weights has no entropy.
  const { record: hash } = await recorded(steps, [at(1, 0, 1, null)])
  expect(hash.layers[0]).toMatchObject({ gate: [1], entropy: [0] })
  // A version without gates began the run.
  const { record: older } = await recorded(steps, [at(1, 0, undefined, 1.25), at(2, 0, 0.5, 1)])
  expect(older.layers[0]).not.toHaveProperty('gate')
  expect(older.layers[0]?.entropy).toEqual([1.25, 1])
})

test('curves of long runs are reduced to as many points as a figure shows', async () => {
  const steps = Array.from({ length: 1000 }, (_, i) => step(i + 1, { loss: i < 500 ? 6 : 4 }))
  const routed = Array.from({ length: 80 }, (_, i) => routing(i + 1, 0, [32, 32, 32, 32], [32, 32, 32, 32]))
  const { record } = await recorded(steps, routed, ['train.steps=1000'])
  expect(record.train.step).toHaveLength(100)
  expect(record.train.step.at(-1)).toBe(1000)
  expect(new Set(record.train.loss)).toEqual(new Set([6, 4]))
  expect(record.layers[0]?.step).toHaveLength(16)
  expect(record.layers[0]?.step.at(-1)).toBe(80)
})

test('a skipped step has no loss, and an evaluation without a finite loss is omitted', async () => {
  const log = [step(1), step(2, { loss: null }), { kind: 'eval', step: 2, loss: null }, step(3), step(4)]
  const { record } = await recorded(log, [])
  expect(record.train.loss).toEqual([4.9, null, 4.7, 4.6])
  expect(record.evaluations).toEqual([])
})

test('a log that lacks steps is refused', () =>
  expect(recorded([step(1), step(2)], [])).rejects.toThrow('has 2 steps of 4'))
