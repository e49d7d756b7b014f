/**
 * Studies with matched arms from the specification to the report, with jobs that train nothing.
 *
 * @slow
 */
import { readdir, readFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { describeModel } from '../../../core/model/describe.ts'
import { csvRecords } from '../../report/testing/parse-csv.ts'
import type { FinishedRun } from '../contract.ts'
import { readSpecification } from '../grid/read-specification.ts'
import { readResults } from '../results/results-file.ts'
import { study, writeStudyReport } from '../shown/study.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { finishedRun } from '../testing/records.ts'
import type { TrainJob } from './job.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

/** A record with the sizes that a training would count. */
function sizedRun(job: TrainJob): FinishedRun {
  const run = finishedRun(job)
  const { parameters, activeParameters, flopsPerToken } = describeModel(job.config.model)
  return { ...run, parameters, activeParameters, trainFlops: run.tokens * flopsPerToken }
}

const arms = {
  'top-2': { 'model.moe.hidden': 96, 'model.moe.k': 2 },
  dense: { 'model.moe': null, match: { equal: 'activeParameters' } },
  // One layer more or less has a sixth of the parameters, so this arm cannot come nearer.
  deep: { 'model.moe.hidden': 30, match: { equal: 'totalParameters', by: 'model.layers' } },
}

const rowOf = (report: string, arm: string, contains: string) =>
  report.split('\n').find((line) => line.startsWith(`| ${arm} `) && line.includes(contains))

test('a matched arm is printed, trained, stored and reported with its value and its mismatch', async () => {
  const specification = fake.specification({ arms, seeds: [1, 2] })
  const { jobs, run } = recorder(sizedRun)
  const { files } = await study(specification, fake.options(), run)

  // H = N/2 + K·F for four experts of width 96, of which a token uses two.
  const [dense, deep] = fake.of('match')
  expect(dense).toMatchObject({ arm: 'dense', of: 'top-2', by: 'model.hidden', value: 194, mismatch: 0 })
  expect(Math.abs(deep?.mismatch ?? 0)).toBeGreaterThan(0.01)
  expect(fake.events.findIndex(({ kind }) => kind === 'match')).toBeLessThan(
    fake.events.findIndex(({ kind }) => kind === 'begin'),
  )
  const trained = jobs.flatMap((job) => (job.kind === 'train' && job.config.model.moe === null ? job.config : []))
  expect(trained.map(({ model, train }) => [model.hidden, train.seed])).toEqual([
    [194, 1],
    [194, 2],
  ])

  const { matches } = await readResults(fake.file('out'), 'report')
  expect(matches).toEqual([dense, deep].map((event) => ({ ...event, kind: undefined, mismatch: undefined })))

  const report = await readFile(files?.markdown ?? '', 'utf8')
  expect(rowOf(report, 'dense', 'hidden')).toMatch(
    // The table and the head, the last norm, and two layers of 4·D² + 2·D + 2·D·H.
    /dense, model\.hidden=194 .*\| +66\.0k \| +66\.0k \|.*\| hidden 194 \(active parameters 66\.0k, as top-2\) \| +equal \|/,
  )
  expect(rowOf(report, 'deep', 'layers')).toMatch(/layers \d .*\| +[+−]\d\.\d\d ≠ \|/)
  expect(report).toContain('≠: it is more than 1 %')

  // Programs read the mismatch with all its digits, in per cent.
  await study(specification, fake.options({ paper: true }), recorder(sizedRun).run)
  const tables = await Promise.all(
    (await readdir(fake.file('out', 'paper')))
      .filter((name) => name.endsWith('.csv'))
      .map((name) => readFile(fake.file('out', 'paper', name), 'utf8')),
  )
  const sizes = tables.flatMap(csvRecords).filter((row) => 'mismatch_percent' in row)
  expect(sizes.map((row) => [row.arm, row.mismatch_percent, row.mismatch_percent_marks])).toEqual([
    ['top-2', '', ''],
    ['dense', '0', ''],
    ['deep', String(100 * (deep?.mismatch ?? 0)), '≠'],
  ])

  const again = recorder(sizedRun)
  await study(specification, fake.options(), again.run)
  expect(again.jobs).toEqual([])
  // The specification that the study has written leads to the same report.
  await writeStudyReport(await readSpecification(fake.file('out', 'study.yaml')), fake.options())
  expect(await readFile(files?.markdown ?? '', 'utf8')).toBe(report)
})

test('without a matched arm the table of arms has settings and sizes only', async () => {
  const { run } = recorder(sizedRun)
  const { 'top-2': top2 } = arms
  const { files } = await study(
    fake.specification({ arms: { 'top-1': {}, 'top-2': top2 }, seeds: [1] }),
    fake.options(),
    run,
  )
  const report = await readFile(files?.markdown ?? '', 'utf8')
  // Two layers of 4·D² attention, 2·D norms, N·D router and N experts of 2·D·F; table, head and last norm.
  const total = 2 * (4 * 32 ** 2 + 2 * 32 + 4 * 32 + 4 * 2 * 32 * 96) + 2 * 512 * 32 + 32
  expect(rowOf(report, 'top-2', 'hidden=96')).toContain(`${(total / 1000).toFixed(1)}k`)
  expect(report).not.toContain('Matched')
})
