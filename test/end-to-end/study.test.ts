/** A study as a user runs it, and its report. `study-faults.test.ts` has studies that fail or are interrupted. */
import { readdirSync, readFileSync } from 'node:fs'
import { parquetReadObjects } from 'hyparquet'
import { expect, test, vi } from 'vitest'
import { undocumented } from '../../src/faces/cli/testing/documented-events.ts'
import { ARM_FILE, armIn } from '../../src/node/run/study-arm.ts'
import { lines, studyRuns, timeouts, twoArms } from './study-runs.ts'
import { trainRecords } from './support.ts'

vi.setConfig(timeouts)
const { workspace, studyFile, study, resultsIn } = studyRuns()

test('a study trains every arm with every seed on the same batches, and writes its report', async () => {
  const file = studyFile('whole', twoArms)
  const ended = await study(file, 'whole', '--json')
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  for (const line of lines(ended)) expect(undocumented('study', line)).toEqual([])
  const { records } = resultsIn('whole')
  expect(records.map((record) => (record.status === 'failed' ? record.error : record.seed)).sort()).toEqual([
    1, 1, 2, 2,
  ])

  // Runs with equal seeds have the same initial parameters and batches, and differ only in k.
  const runs = readdirSync(workspace().file('whole', 'runs')).sort()
  expect(runs.map((name) => name.replace(/-[0-9a-f]+$/, ''))).toEqual([
    'top-1-seed-1',
    'top-1-seed-2',
    'top-2-seed-1',
    'top-2-seed-2',
  ])
  const arms = runs.map((name) => armIn(readFileSync(workspace().file('whole', 'runs', name, ARM_FILE), 'utf8')))
  expect(arms).toEqual(['top-1', 'top-1', 'top-2', 'top-2'])
  const first = runs.map((name) => trainRecords(workspace().file('whole', 'runs', name))[0])
  expect(first[0]?.loss).not.toBe(first[1]?.loss)

  for (const record of records) {
    if (record.status !== 'finished') throw new Error(record.error)
    expect(Number.isFinite(record.heldOut.loss)).toBe(true)
    // The loss is at the evaluation capacity; the losses at the other two capacities are stored too.
    const { capacity, capacities, loss } = record.heldOut
    expect(capacity).toBe('eval')
    expect(loss).toBe(capacities.eval.loss)
    expect(capacities.train.drop_rate).toBeGreaterThan(0)
    expect(new Set([capacities.train.loss, loss, capacities.none.loss]).size).toBeGreaterThan(1)
    expect(record.train.step.at(-1)).toBe(12)
    expect(record.layers).toHaveLength(2)
    for (const { load } of record.layers)
      for (const shares of load) expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 2)
  }
  const [one, two] = records.filter(({ seed }) => seed === 1)
  if (one?.status !== 'finished' || two?.status !== 'finished') throw new Error('not finished')
  expect(Math.max(one.trainFlops, two.trainFlops)).toBeGreaterThan(1.1 * Math.min(one.trainFlops, two.trainFlops))

  const html = readFileSync(workspace().file('whole', 'report.html'), 'utf8')
  expect(html).toContain('top-2')
  expect(html).not.toMatch(/(?:src|href)="https?:/)
  expect(readFileSync(workspace().file('whole', 'report.md'), 'utf8')).toContain('top-2')
  const bytes = readFileSync(workspace().file('whole', 'results.parquet'))
  const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) })
  expect(rows.map(({ status }) => status)).toEqual(['finished', 'finished', 'finished', 'finished'])
  expect(rows.find(({ arm, seed }) => arm === 'top-1' && seed === 1n)?.held_out_loss).toBeCloseTo(
    (records.find((record) => record.seed === 1 && record.config.model.moe?.k === 1) as typeof one).heldOut.capacities
      .train.loss,
    6,
  )
})
