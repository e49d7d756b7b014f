/**
 * Searches with jobs that train nothing: which configurations go on, also after failures and stops, and the report.
 *
 * @slow
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import { folderName } from '../../../train/run/checkpoint/description.ts'
import type { Block } from '../../report/blocks.ts'
import { analyse } from '../analysis/analyse.ts'
import type { TrainJob } from '../runs/job.ts'
import { runStudy, type StudyState } from '../runs/run-study.ts'
import { study } from '../shown/study.ts'
import { FakeStudy, recorder, runWithGivenLoss } from '../testing/fake-study.ts'
import { resultsOf } from './results.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

const specification = (configurations = 9) =>
  fake.specification({
    search: {
      settings: { 'train.schedule.learningRate': { min: 0.001, max: 1, scale: 'log' } },
      configurations,
      minSteps: 10,
      maxSteps: 90,
    },
  })
const rateOf = (job: TrainJob) => job.config.train.schedule.learningRate

/** The loss is lowest at a rate of 0.03, and falls with the steps. */
const lossOf = (job: TrainJob) => 5 + Math.abs(Math.log(rateOf(job) / 0.03)) - (job.until ?? 0) / 1000
const byRate = () => recorder((job) => runWithGivenLoss(job, lossOf(job)))

const trained = (jobs: ReturnType<typeof recorder>['jobs']) =>
  jobs.flatMap((job) =>
    job.kind === 'train' ? [{ until: job.until, rate: rateOf(job), directory: job.directory }] : [],
  )

test('the best third of each rung go on, in the directories of their earlier rungs', async () => {
  const { jobs, run } = byRate()
  await runStudy(specification(), fake.options(), run)
  const all = trained(jobs)
  const at = (until: number) => all.filter((job) => job.until === until)
  expect([10, 30, 90].map((until) => at(until).length)).toEqual([9, 3, 1])
  const best = at(10).toSorted((a, b) => Math.abs(Math.log(a.rate / 0.03)) - Math.abs(Math.log(b.rate / 0.03)))
  const rates = (of: typeof best) => of.map(({ rate }) => rate).sort()
  expect(rates(at(30))).toEqual(rates(best.slice(0, 3)))
  expect(rates(at(90))).toEqual(rates(best.slice(0, 1)))
  expect(new Set(all.map(({ directory }) => directory)).size).toBe(9)
  expect(fake.of('rung').map(({ steps, promoted }) => [steps, promoted])).toEqual([
    [10, 3],
    [30, 1],
    [90, 0],
  ])
})

test('a search that is stopped at any job continues with the same choices', async () => {
  const whole = byRate()
  await runStudy(specification(), fake.options({ directory: fake.file('whole'), jobs: 1 }), whole.run)
  const names = (jobs: typeof whole.jobs) => trained(jobs).map(({ until, rate }) => `${until} ${rate}`)
  const all: string[] = []
  for (let start = 0; all.length < 13; start++) {
    const stop = new AbortController()
    let count = 0
    const { jobs, run } = byRate()
    await runStudy(
      specification(),
      fake.options({
        jobs: 1,
        signal: stop.signal,
        onEvent: ({ kind }) => kind === 'end' && ++count === 2 && stop.abort(),
      }),
      run,
    )
    all.push(...names(jobs))
    expect(start).toBeLessThan(10)
  }
  expect(all).toEqual(names(whole.jobs))
})

test('a search goes on without --keep-checkpoints and leaves those that were kept', async () => {
  const stop = new AbortController()
  const { jobs, run } = recorder((job) => {
    mkdirSync(join(job.directory, 'checkpoints', folderName(job.until ?? 0)), { recursive: true })
    return runWithGivenLoss(job, lossOf(job))
  })
  const onEvent = ({ kind }: { kind: string }) => kind === 'end' && jobs.length === 4 && stop.abort()
  await runStudy(specification(), fake.options({ keepCheckpoints: true, jobs: 1, signal: stop.signal, onEvent }), run)
  await runStudy(specification(), fake.options({ jobs: 1 }), run)
  const directories = trained(jobs).map(({ directory }) => directory)
  expect(directories).toHaveLength(13)
  const first = directories.slice(0, 4)
  const has = (directory: string) => existsSync(join(directory, 'checkpoints', folderName(10)))
  expect(first.every(has)).toBe(true)
  expect(directories.filter((directory) => !first.includes(directory)).some(has)).toBe(false)
})

test('a configuration that fails or diverges never goes on, and the others do', async () => {
  const { jobs, run } = recorder((job) => {
    if (rateOf(job) > 0.3) throw new RunError('the loss is not finite')
    return runWithGivenLoss(job, rateOf(job) > 0.01 ? Number.NaN : lossOf(job))
  })
  const { grid, ledger } = await runStudy(specification(18), fake.options(), run)
  expect(trained(jobs).filter(({ until, rate }) => (until ?? 0) > 10 && rate > 0.01)).toEqual([])
  const report = analyse(resultsOf(specification(18), { name: 't', command: 'c' }, grid, ledger))
  expect(report.headline).toMatch(/^Best configuration: learningRate=0\.00/)
  expect(JSON.stringify(report)).toContain('the loss is not finite')
})

test('a search in which all configurations fail ends with a report and without a best configuration', async () => {
  const { run, jobs } = recorder(() => {
    throw new RunError('no luck')
  })
  const outcome = await study(specification(4), fake.options(), run)
  expect(jobs).toHaveLength(4)
  expect(outcome).toMatchObject({ finished: 0, failed: 4, runs: 6 })
})

const figure = (blocks: readonly Block[], id: string) =>
  blocks.find((block) => block.kind === 'figure' && block.id === id)

function reportOf({ grid, ledger }: StudyState) {
  const report = analyse(resultsOf(specification(), { name: 't', command: 'choir study x --search' }, grid, ledger))
  return { report, blocks: report.sections.flatMap(({ blocks }) => blocks) }
}

test('the report has the best configuration with its command, the rungs, and losses over budgets and values', async () => {
  const { run, jobs } = byRate()
  const { report, blocks } = reportOf(await runStudy(specification(), fake.options(), run))
  const best = trained(jobs).find(({ until }) => until === 90)?.rate ?? 0
  expect(report.headline).toBe(
    `Best configuration: learningRate=${best}, held-out loss ${(4.91 + Math.abs(Math.log(best / 0.03))).toFixed(3)} nats a token.`,
  )
  const command = report.sections.find(({ id }) => id === 'summary')?.command
  expect(command).toMatch(/^choir train tiny --set .*--set train\.steps=90/)
  expect(command?.endsWith(`--set train.schedule.learningRate=${best}`)).toBe(true)
  const rungs = blocks.find((block) => block.kind === 'table' && block.columns[0]?.title === 'Rung')
  expect(rungs?.kind === 'table' && rungs.rows.map((row) => row.slice(0, 4))).toEqual([
    ['1', '10', '9', '0'],
    ['2', '30', '3', '0'],
    ['3', '90', '1', '0'],
  ])
  expect(figure(blocks, 'search-budget')).toMatchObject({
    series: [
      { name: '#1', x: [10, 30, 90] },
      { name: '#2', x: [10, 30] },
      { name: '#3', x: [10, 30] },
      { dots: { length: 6 } },
    ],
  })
  const setting = figure(blocks, 'search-train-schedule-learningrate')
  expect(setting).toMatchObject({ form: 'scatter', x: { scale: 'log' }, points: { length: 9 } })
  // 9 · 10 + 3 · 20 + 1 · 60 steps.
  expect(JSON.stringify(report)).toContain(
    '210 steps were trained; whole trainings of all configurations would have 810.',
  )
})

test('the report of a search that is not complete shows how far it came', async () => {
  const stop = new AbortController()
  let count = 0
  const onEvent = ({ kind }: { kind: string }) => kind === 'end' && ++count === 10 && stop.abort()
  const state = await runStudy(specification(), fake.options({ jobs: 1, signal: stop.signal, onEvent }), byRate().run)
  const { report } = reportOf(state)
  expect(report.headline).toMatch(/^So far, after 30 of 90 steps, the best configuration: /)
  expect(report.facts[0]).toBe(
    '10 of 13 trainings done: 9 configurations of train.schedule.learningRate, drawn with seed 0',
  )
})
