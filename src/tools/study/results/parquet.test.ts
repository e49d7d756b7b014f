/** results.parquet and curves.parquet, read back by another library. */
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { StudyResults } from '../contract.ts'
import { finishedRun } from '../testing/records.ts'
import { curvesParquetOf, parquetOf } from './parquet.ts'
import { describeMachine } from './provenance.ts'

async function results(): Promise<StudyResults> {
  const config = await loadConfig('tiny', [])
  const job = {
    kind: 'train',
    arm: 'a',
    key: 'k',
    seed: 1,
    config,
    directory: '',
    corpus: 'c',
    elsewhere: {},
    specialise: false,
    trial: false,
  } as const
  const done = finishedRun(job)
  return {
    name: 'test',
    title: 'A test',
    command: 'choir study test',
    seeds: [1],
    arms: {
      plain: {},
      mixed: { 'model.moe.k': 2, 'model.moe.capacity': '1x' },
      word: { 'model.moe.capacity': 'none', 'model.moe.balance': { coefficient: 0 } },
    },
    matches: [],
    questions: [],
    capacity: 'train',
    pilot: null,
    tuning: [],
    cells: [
      {
        arm: 'plain',
        seed: 1,
        rate: 'common',
        record: { ...done, elsewhere: { 'moby-dick': { ...done.heldOut, loss: 5.25 } } },
      },
      {
        arm: 'mixed',
        seed: 1,
        rate: 'best',
        record: { status: 'failed', key: 'f', seed: 1, config, error: 'no "luck", Ü' },
      },
      { arm: 'word', seed: 1, rate: 'common', record: null },
    ],
    timings: [],
    specialisations: [],
    machine: 'none',
  }
}

const fileOf = (bytes: Uint8Array): ArrayBuffer => Uint8Array.from(bytes).buffer

test('results.parquet has one row per run with settings and results, and nulls for a missing run', async () => {
  const rows = await parquetReadObjects({ file: fileOf(parquetOf(await results())) })
  expect(rows.map(({ arm, status, error }) => [arm, status, error])).toEqual([
    ['plain', 'finished', null],
    ['mixed', 'failed', 'no "luck", Ü'],
    ['word', 'missing', null],
  ])
  expect(rows.map((row) => row['model.moe.k'])).toEqual([null, 2n, null])
  expect(rows.map((row) => row['model.moe.capacity'])).toEqual([null, '1x', 'none'])
  expect(rows[2]?.['model.moe.balance']).toBe('{"coefficient":0}')
  expect(rows.map(({ held_out_loss }) => held_out_loss)).toEqual([4.5, null, null])
  expect(rows[0]).toMatchObject({
    held_out_drop_rate: 0.01,
    held_out_unserved_rate: 0,
    held_out_loss_capacity_train: 4.512345678,
    drop_rate_capacity_train: 0.0212345678,
    unserved_rate_capacity_train: 0.01,
    held_out_loss_capacity_none: 4.487654321,
  })
  expect(rows[1]?.held_out_loss_capacity_none).toBeNull()
  expect(rows.map((row) => row['held_out_loss moby-dick'])).toEqual([5.25, null, null])
})

test('results.parquet has rates, losses under each capacity rule, and the machine', async () => {
  const at = (loss: number, dropped: number) => ({ loss, bits_per_byte: 1, drop_rate: dropped, unserved_rate: 0.5 })
  const { cells, ...rest } = await results()
  const changed = cells.map((cell) => {
    if (cell.record?.status !== 'finished') return cell
    const capacities = { train: at(4.75, 0.25), eval: at(4.5, 0.125), none: at(4.25, 0) }
    const heldOut = { ...cell.record.heldOut, capacities }
    return { ...cell, record: { ...cell.record, heldOut, leak: { train: 0.0625, eval: null } } }
  })
  const rows = await parquetReadObjects({ file: fileOf(parquetOf({ ...rest, cells: changed })) })
  const rate = (await loadConfig('tiny', [])).train.schedule.learningRate
  expect(rows.map(({ rate, learning_rate }) => [rate, learning_rate])).toEqual([
    ['common', rate],
    ['best', rate],
    ['common', null],
  ])
  expect(rows[0]).toMatchObject({
    held_out_loss_capacity_train: 4.75,
    held_out_loss_capacity_eval: 4.5,
    held_out_loss_capacity_none: 4.25,
    drop_rate_capacity_eval: 0.125,
    unserved_rate_capacity_none: 0.5,
    leak_capacity_train: 0.0625,
    machine: describeMachine(),
  })
  expect(rows[0]?.leak_capacity_eval).toBeNull()
  expect(rows[1]?.held_out_loss_capacity_train).toBeNull()
})

test('results.parquet has whole numbers as integers: seeds, counts, and settings without fractions', async () => {
  const { arms, ...rest } = await results()
  const bytes = fileOf(parquetOf({ ...rest, arms: { ...arms, word: { 'model.moe.factor': 1.5 } } }))
  const types = Object.fromEntries(parquetMetadata(bytes).schema.map(({ name, type }) => [name, type]))
  expect(types).toMatchObject({ seed: 'INT64', parameters: 'INT64', tokens: 'INT64', 'model.moe.k': 'INT64' })
  expect(types).toMatchObject({ held_out_loss: 'DOUBLE', dead_experts: 'DOUBLE', 'model.moe.factor': 'DOUBLE' })
  const rows = await parquetReadObjects({ file: bytes })
  expect(rows.map(({ seed, tokens }) => [seed, tokens])).toEqual([
    [1n, 2560n],
    [1n, null],
    [1n, null],
  ])
})

test('curves.parquet has the losses of a run by step, at the capacity of the study', async () => {
  const found = await results()
  const cells = found.cells.map((cell) => {
    if (cell.record?.status !== 'finished') return cell
    const evaluations = [
      { step: 15, seconds: 1, loss: 4.7, losses: { train: 4.75, eval: 4.7, none: 4.6 } },
      { step: 20, seconds: 1, loss: 4.5, losses: { train: 4.55, eval: 4.5, none: null } },
    ]
    return { ...cell, record: { ...cell.record, train: { step: [10, 20], loss: [5, null] }, evaluations } }
  })
  const read = (capacity: 'train' | 'none') =>
    parquetReadObjects({ file: fileOf(curvesParquetOf({ ...found, cells, capacity })) })
  const row = { arm: 'plain', seed: 1n, rate: 'common' }
  expect(await read('train')).toEqual([
    { ...row, step: 10n, train_loss: 5, held_out_loss: null },
    { ...row, step: 15n, train_loss: null, held_out_loss: 4.75 },
    { ...row, step: 20n, train_loss: null, held_out_loss: 4.55 },
  ])
  expect((await read('none')).map(({ held_out_loss }) => held_out_loss)).toEqual([null, 4.6, null])
})

test('results.parquet has the command of the study in its metadata', async () => {
  const { key_value_metadata } = parquetMetadata(fileOf(parquetOf(await results())))
  expect(key_value_metadata).toContainEqual({ key: 'command', value: 'choir study test' })
})

test('results.parquet has no rows for a study without runs', async () => {
  const empty = { ...(await results()), cells: [] }
  expect(await parquetReadObjects({ file: fileOf(parquetOf(empty)) })).toEqual([])
})

test('both files have a column for the branch of a run, but only in a study with branches', async () => {
  const found = await results()
  const [plain, ...others] = found.cells
  if (!plain) throw new Error('no cell')
  const cells = [{ ...plain, share: 0.25 }, { ...plain, share: 1 }, ...others]
  const rows = async (bytes: Uint8Array) => parquetReadObjects({ file: fileOf(bytes) })
  const branched = { ...found, cells }
  expect((await rows(parquetOf(branched))).map(({ branch }) => branch)).toEqual([0.25, 1, 1, 1])
  expect((await rows(curvesParquetOf(branched))).map(({ branch }) => branch)).toEqual([0.25, 0.25, 1, 1])
  for (const bytes of [parquetOf(found), curvesParquetOf(found)])
    expect((await rows(bytes))[0]).not.toHaveProperty('branch')
})
