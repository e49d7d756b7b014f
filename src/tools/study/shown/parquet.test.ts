/** results.parquet and curves.parquet, read back by another library. */
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { StudyResults } from '../contract.ts'
import { describeMachine } from '../results/record.ts'
import { finishedRun } from '../testing/records.ts'
import { curvesParquetOf, parquetOf } from './parquet.ts'

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
  expect(rows.map((row) => row.model_moe_k)).toEqual([null, 2n, null])
  expect(rows.map((row) => row.model_moe_capacity)).toEqual([null, '1x', 'none'])
  expect(rows[2]?.model_moe_balance).toBe('{"coefficient":0}')
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
  expect(rows.map((row) => row.held_out_loss_moby_dick)).toEqual([5.25, null, null])
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
  expect(types).toMatchObject({ seed: 'INT64', parameters: 'INT64', tokens: 'INT64', model_moe_k: 'INT64' })
  expect(types).toMatchObject({ held_out_loss: 'DOUBLE', dead_experts: 'DOUBLE', model_moe_factor: 'DOUBLE' })
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

const typesOf = (bytes: Uint8Array): Record<string, unknown> =>
  Object.fromEntries(
    parquetMetadata(fileOf(bytes))
      .schema.slice(1)
      .map(({ name, type }) => [name, type]),
  )

test('a study without results has no values, but all columns with the types of a finished one', async () => {
  const { cells, ...rest } = await results()
  const withoutTexts = cells.map((cell) =>
    cell.record?.status === 'finished' ? { ...cell, record: { ...cell.record, elsewhere: {} } } : cell,
  )
  const found = { ...rest, cells: withoutTexts }
  const waiting = { ...found, cells: found.cells.map((cell) => ({ ...cell, record: null })) }
  for (const bytes of [parquetOf, curvesParquetOf]) {
    expect(typesOf(bytes(waiting))).toEqual(typesOf(bytes({ ...found, cells: found.cells.slice(0, 1) })))
    expect(typesOf(bytes({ ...found, cells: [] }))).toEqual(typesOf(bytes(waiting)))
    expect(await parquetReadObjects({ file: fileOf(bytes({ ...found, cells: [] })) })).toEqual([])
  }
  const rows = await parquetReadObjects({ file: fileOf(parquetOf(waiting)) })
  expect(rows.map(({ held_out_loss, step_ms, error }) => [held_out_loss, step_ms, error])).toEqual(
    found.cells.map(() => [null, null, null]),
  )
  expect(typesOf(parquetOf(waiting))).toMatchObject({ held_out_loss: 'DOUBLE', tokens: 'INT64', step_ms: 'DOUBLE' })
  expect(typesOf(parquetOf(waiting))).toMatchObject({ error: 'BYTE_ARRAY', machine: 'BYTE_ARRAY' })
})

test('a setting that only arms without runs have keeps its type', async () => {
  const found = await results()
  const plain = { ...found, cells: found.cells.slice(0, 1) }
  expect(typesOf(parquetOf(plain))).toMatchObject({ model_moe_k: 'INT64', model_moe_capacity: 'BYTE_ARRAY' })
})

test('names of columns need no quotes in SQL, whatever the texts are called', async () => {
  const found = await results()
  const cells = found.cells.map((cell) => {
    if (cell.record?.status !== 'finished') return cell
    const { heldOut } = cell.record
    return { ...cell, record: { ...cell.record, elsewhere: { 'my books/*.txt': heldOut, 'my-books/*.TXT': heldOut } } }
  })
  const names = [
    ...Object.keys(typesOf(parquetOf({ ...found, cells }))),
    ...Object.keys(typesOf(curvesParquetOf(found))),
  ]
  expect(names).toEqual(expect.arrayContaining(['held_out_loss_my_books_txt', 'held_out_loss_my_books_txt_2']))
  for (const name of names) expect(name).toMatch(/^[a-z_][a-z\d_]*$/)
})

test('results.parquet has the step time of the arm of each run, and a row for an arm that is only timed', async () => {
  const found = await results()
  const timing = { stepMs: 12.5, turnsMs: [13, 12, 12.5], engine: 'oneDNN', machine: 'a machine' }
  const timings = [
    { ...timing, arm: 'plain' },
    { ...timing, arm: 'other', stepMs: 20, turnsMs: [] },
  ]
  const rows = await parquetReadObjects({ file: fileOf(parquetOf({ ...found, timings })) })
  expect(rows.map(({ arm, seed, status, step_ms }) => [arm, seed, status, step_ms])).toEqual([
    ['plain', 1n, 'finished', 12.5],
    ['mixed', 1n, 'failed', null],
    ['word', 1n, 'missing', null],
    ['other', null, 'timed', 20],
  ])
  expect(rows[0]).toMatchObject({ step_ms_lowest: 12, step_ms_highest: 13, step_engine: 'oneDNN' })
  expect(rows[3]).toMatchObject({ step_ms_lowest: null, rate: null, step_machine: 'a machine', machine: null })
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
