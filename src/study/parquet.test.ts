/** results.parquet, read back by another implementation's reader. */
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { expect, test } from 'vitest'
import { loadConfig } from '../train/load-config.ts'
import type { StudyResults } from './contract.ts'
import { parquetOf } from './parquet.ts'
import { finishedRun } from './testing/records.ts'

async function results(): Promise<StudyResults> {
  const config = await loadConfig('tiny', [])
  const job = {
    kind: 'train',
    key: 'k',
    seed: 1,
    config,
    directory: '',
    corpus: 'c',
    elsewhere: {},
    specialise: false,
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
    questions: [],
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
        rate: 'common',
        record: { status: 'failed', key: 'f', seed: 1, config, error: 'no "luck", Ü' },
      },
      { arm: 'word', seed: 1, rate: 'common', record: null },
    ],
    timings: [],
    specialisations: [],
    capacity: 'train',
    pilot: null,
    tuning: [],
    machine: 'none',
  }
}

const fileOf = (bytes: Uint8Array): ArrayBuffer => Uint8Array.from(bytes).buffer

test('a row a run: settings, figures, and nothing where there is no run', async () => {
  const rows = await parquetReadObjects({ file: fileOf(parquetOf(await results())) })
  expect(rows.map(({ arm, status, error }) => [arm, status, error])).toEqual([
    ['plain', 'finished', null],
    ['mixed', 'failed', 'no "luck", Ü'],
    ['word', 'missing', null],
  ])
  expect(rows.map((row) => row['model.moe.k'])).toEqual([null, 2, null])
  expect(rows.map((row) => row['model.moe.capacity'])).toEqual([null, '1x', 'none'])
  expect(rows[2]?.['model.moe.balance']).toBe('{"coefficient":0}')
  expect(rows.map(({ held_out_loss }) => held_out_loss)).toEqual([4.5, null, null])
  expect(rows.map((row) => row['held_out_loss moby-dick'])).toEqual([5.25, null, null])
})

test('the file tells the command that made it', async () => {
  const { key_value_metadata } = parquetMetadata(fileOf(parquetOf(await results())))
  expect(key_value_metadata).toContainEqual({ key: 'command', value: 'choir study test' })
})

test('a study without runs is a file without rows', async () => {
  const empty = { ...(await results()), cells: [] }
  expect(await parquetReadObjects({ file: fileOf(parquetOf(empty)) })).toEqual([])
})
