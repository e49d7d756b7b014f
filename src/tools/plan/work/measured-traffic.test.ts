import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RunError, UsageError } from '../../../core/errors.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { Predictor } from '../cost/predict.ts'
import { timeKinds } from '../cost/time-kinds.ts'
import { plan } from '../plan.ts'
import { idealCluster, layoutOf, predict, sparseRun } from '../testing/cases.ts'
import { balancedLoads } from './load.ts'
import { measuredTraffic, trafficImbalance } from './measured-traffic.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-traffic-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let runs = 0

/** A run directory of a model of two layers with four experts each, on ranks in groups of two. */
async function runWith(ledger: string | null, sets: string[] = ['parallel.expert=2', 'parallel.shards=4']) {
  const directory = join(folder, `run-${runs++}`)
  mkdirSync(directory)
  const config = { version: '0.1.0', ...(await loadConfig('tiny', sets)) }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  if (ledger !== null) writeFileSync(join(directory, 'ledger.jsonl'), ledger)
  return directory
}

/** A record of rows of 128 bytes, which are sent both ways with their gradients. */
const record = (step: number, layer: number, a: number, b: number, first_rank = 0, module = 'ffn') => {
  const rows = [
    [0, a],
    [b, 0],
  ]
  const sent = 2 * 128 * (a + b)
  const bytes = [
    [0, sent],
    [sent, 0],
  ]
  return `${JSON.stringify({ step, layer, module, first_rank, rows, bytes })}\n`
}

test('the busiest rank has most rows of the all-to-all to the experts, and is chosen in each step', async () => {
  const directory = await runWith(
    record(5, 0, 30, 10) + record(5, 1, 20, 20) + record(6, 0, 10, 30) + record(6, 1, 0, 0),
  )
  const { expert, steps, modules } = await measuredTraffic(directory)
  expect({ expert, steps }).toEqual({ expert: 2, steps: 2 })
  // The busiest rank has 30 rows where the mean is 20, in another direction in each step.
  expect(modules).toMatchObject([
    { layer: 0, module: 'ffn', imbalance: 1.5, pairImbalance: 1.5, meanBytes: 2 * 128 * 40 },
    { layer: 1, module: 'ffn', imbalance: 1, pairImbalance: 1, meanBytes: 128 * 40 },
  ])
})

test('even bytes count the shards of a rank: half of its rows there and back, and their gradients', async () => {
  // tiny has 4 sequences of 32 tokens, top-1, width 32. Each of two ranks has 64 tokens, 32 of them for the other rank.
  const even = 4 * 32 * 32 * 4
  const one = await measuredTraffic(await runWith(record(5, 0, 1, 1)))
  expect(one.modules[0]?.evenBytes).toBe(even)
  const two = await measuredTraffic(await runWith(record(5, 0, 1, 1) + record(5, 0, 1, 1, 2)))
  expect(two.modules[0]?.evenBytes).toBe(even / 2)
})

test('even bytes of attention experts are rows of the width, and of queries, keys and values with shared heads', async () => {
  const sets = ['model.moe.attention=qkv', 'model.heads=4', 'model.keyValueHeads=1']
  const directory = await runWith(record(5, 0, 1, 1, 0, 'qkv'), ['parallel.expert=2', 'parallel.shards=4', ...sets])
  // Queries have 32 columns, keys and values 8 each: a row is 32 numbers there and 48 back, instead of 32 and 32.
  expect((await measuredTraffic(directory)).modules[0]?.evenBytes).toBe((4 * 32 * 32 * 4 * (32 + 48)) / 64)
})

test('only the last ten steps count, and a line that a crash truncated does not', async () => {
  const early = Array.from({ length: 10 }, (_, i) => record(i + 1, 0, 40, 0)).join('')
  const late = Array.from({ length: 10 }, (_, i) => record(i + 11, 0, 20, 20)).join('')
  const { steps, modules } = await measuredTraffic(await runWith(early + late + record(21, 0, 9, 0).slice(0, 30)))
  expect(steps).toBe(10)
  expect(modules[0]?.imbalance).toBe(1)
})

test('a plan whose model has more layers uses the module at the nearest depth', async () => {
  const measured = await measuredTraffic(await runWith(record(5, 0, 30, 10) + record(5, 1, 20, 20)))
  const of = trafficImbalance(measured, 8)
  expect([0, 3, 4, 7].map((layer) => of(layer, 'ffn'))).toEqual([1.5, 1.5, 1, 1])
  expect(of(0, 'qkv')).toBe(1.5)
})

test('all-to-alls of a plan take longer than with even loads by the measured imbalance, and nothing else does', () => {
  const run = sparseRun({ capacity: 'none' })
  const [cluster, layout] = [idealCluster(8), layoutOf({ data: 8, expert: 8 })]
  const even = predict(run, cluster, layout)
  const uneven = new Predictor(run, cluster, balancedLoads(run.model), (layer) => (layer === 0 ? 2 : 1)).predict(layout)
  expect(uneven.time.parts['all-to-all']).toBeCloseTo(1.5 * even.time.parts['all-to-all'], 12)
  for (const kind of timeKinds.filter((each) => each !== 'all-to-all'))
    expect(uneven.time.parts[kind]).toBeCloseTo(even.time.parts[kind], 15)
  expect(uneven.imbalance).toBe(even.imbalance)
})

test('plan.load.ledger names the run whose imbalance the plan has', async () => {
  const directory = await runWith(record(5, 0, 30, 10) + record(5, 1, 30, 10))
  const of = (ledger: string | null) =>
    plan(
      sparseRun({ capacity: 'none' }, { load: { ledger, sampling: false }, parallel: { expert: 8 }, zero: 0 }),
      idealCluster(8),
    )
  const [even, measured] = [await of(null), await of(directory)]
  const seconds = ({ best }: typeof even) => best[0]?.time.parts['all-to-all'] as number
  expect(even.traffic).toBeUndefined()
  expect(measured.traffic?.directory).toBe(directory)
  expect(seconds(measured)).toBeCloseTo(1.5 * seconds(even), 12)
})

test.each([
  ['without a ledger', () => runWith(null), RunError, /ledger\.jsonl.*train with parallel\.ledger=true/],
  ['with an empty one', () => runWith(''), RunError, /has no step/],
  ['whose lines are others', () => runWith('{"step":1}\n{"step":2}\n'), RunError, /a record has no rows/],
  ['whose ranks share no experts', () => runWith('', []), UsageError, /do not share experts/],
])('a run %s is refused', async (_, directory, kind, message) => {
  const error = await measuredTraffic(await directory()).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(kind)
  expect((error as Error).message).toMatch(message)
})
