/**
 * Two starts of a study on one folder, in this process. `sharing/many-processes.test.ts` tests real processes.
 *
 * @slow
 */
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import type { RunRecord } from '../contract.ts'
import { NUMERICS } from '../grid/numerics.ts'
import { checksumOf } from '../results/checksum.ts'
import { EXPIRY_MS, factsOf } from '../results/processes.ts'
import { study } from '../shown/study.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder, runWithLoss } from '../testing/fake-study.ts'
import { finishedRun } from '../testing/records.ts'
import { readStored } from '../testing/stored.ts'
import type { Job } from './job.ts'
import { runStudy, type StudyOptions, studyOf } from './run-study.ts'
import type { RunJob } from './workers.ts'

/** Two studies run at a time, perhaps on a machine that also does something else. */
vi.setConfig({ testTimeout: 60_000 })

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

const input: SpecificationInput = { arms: { a: {}, b: { 'model.moe.k': 2 }, c: { 'model.moe.k': 3 } }, seeds: [1, 2] }
const start = (run: RunJob, more: Partial<StudyOptions> = {}, of = input) =>
  runStudy(fake.specification(of), fake.options({ join: true, ...more }), run)

const keysOf = (jobs: readonly Job[]) => jobs.flatMap((job) => (job.kind === 'train' ? [job.key] : []))

test('two starts do every trial and run once, time the arms once, and leave the results of one start', async () => {
  const of: SpecificationInput = { ...input, tune: { rates: [0.5, 1, 2], margin: 0 }, timings: ['a'] }
  const alone = recorder(runWithLoss)
  await start(alone.run, { directory: fake.file('alone') }, of)
  const [one, other] = [recorder(runWithLoss), recorder(runWithLoss)]
  const states = await Promise.all([start(one.run, {}, of), start(other.run, {}, of)])
  expect([...keysOf(one.jobs), ...keysOf(other.jobs)].sort()).toEqual(keysOf(alone.jobs).sort())
  expect([...one.jobs, ...other.jobs].filter(({ kind }) => kind === 'time')).toHaveLength(5)
  expect(states.map(({ others }) => others.length).sort()).toEqual([0, 1])
  const read = async (folder: string) => {
    const { records, ...rest } = readStored<{ records: RunRecord[] }>(fake.file(folder))
    return { ...rest, records: records.sort((a, b) => a.key.localeCompare(b.key)) }
  }
  expect(await read('out')).toEqual(await read('alone'))
  expect(readdirSync(fake.file('out'))).toEqual(['results.json.gz'])
})

test('only the start that writes the report returns its files; the other start names the writer', async () => {
  const outcomes = await Promise.all(
    [recorder(), recorder()].map(({ run }) =>
      study(fake.specification(input), fake.options({ join: true, jobs: 1 }), run),
    ),
  )
  const [writer, other] = outcomes[0]?.files ? outcomes : outcomes.toReversed()
  expect(writer).toMatchObject({ others: [], finished: 6, files: { html: fake.file('out', 'report.html') } })
  expect(other).toMatchObject({ others: [`process ${process.pid}`], finished: 6, files: null })
})

test('the results file has every result when the report is written, so that its hash in the report stays right', async () => {
  const { jobs, run } = recorder()
  let isLast = false
  // The runs of the last phase begin together and end one after the other: neither start has the other's when it writes.
  const together: RunJob = async (...args) => {
    const outcome = run(...args)
    const last = keysOf(jobs).length > 4
    if (!last) return outcome
    await vi.waitUntil(() => keysOf(jobs).length === 6, { timeout: 20_000 })
    if (isLast) await vi.waitUntil(() => fake.of('end').length > 4, { timeout: 20_000 })
    isLast = true
    return outcome
  }
  const hashes: string[] = []
  const hashOf = () => checksumOf({ file: readFileSync(fake.file('out', 'results.json.gz'), 'base64') })
  const report = async () => void hashes.push(hashOf())
  const of = { ...input, questions: [{ title: 'Q', baseline: 'a', arms: ['b', 'c'] }] }
  await Promise.all(
    [1, 2].map(() => runStudy(fake.specification(of), fake.options({ join: true, jobs: 1 }), together, report)),
  )
  expect(hashes).toEqual([hashOf()])
})

test('Ctrl-C in one start releases its runs, and the other does them', async () => {
  const controller = new AbortController()
  const untilStopped: RunJob = (_, signal) =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve({ kind: 'stopped' }), { once: true }))
  const first = start(untilStopped, { signal: controller.signal })
  await vi.waitUntil(() => fake.of('begin').length === 2, { timeout: 20_000 })
  const other = recorder()
  const second = start((...args) => {
    controller.abort()
    return other.run(...args)
  })
  expect(await first).toMatchObject({ interrupted: true, others: [`process ${process.pid}`] })
  await second
  expect(other.jobs).toHaveLength(6)
})

test('a run that fails at one start is not tried again by the other start, but by the next', async () => {
  const failing = () =>
    recorder((job) => {
      if (job.config.model.moe?.k === 2) throw new RunError('no luck')
      return finishedRun(job)
    })
  const [one, other] = [failing(), failing()]
  await Promise.all([start(one.run), start(other.run)])
  expect([...one.jobs, ...other.jobs]).toHaveLength(6)
  const next = recorder()
  await start(next.run)
  expect(next.jobs).toHaveLength(2)
})

test('a start with other seeds is refused while another start runs, which finishes its own runs', async () => {
  let second: Promise<unknown> | undefined
  const { jobs, run } = recorder()
  const of = { ...input, seeds: [1, 2, 3] }
  const refused: RunJob = async (...args) => {
    second ??= expect(start(recorder().run, {}, of)).rejects.toThrow(/cannot be joined: .* differs in seeds/)
    await second
    return run(...args)
  }
  const { grid, ledger } = await start(refused)
  expect(jobs).toHaveLength(6)
  expect(grid.cells.every(({ key, config }) => ledger.find(key, config)?.status === 'finished')).toBe(true)
})

/** Leaves the files of a process of another machine, whose last sign of life is as old as given. */
async function foreign(ageMs: number): Promise<object> {
  const holder = { id: 'gone', number: 1, pid: 1, host: 'gone', machine: 'gone', start: null, since: '2026-01-01' }
  await mkdir(fake.file('out', 'processes'), { recursive: true })
  await mkdir(fake.file('out', 'cells'), { recursive: true })
  const file = fake.file('out', 'processes', '1.json')
  await writeFile(file, JSON.stringify({ ...holder, ...factsOf(fake.specification(input)) }))
  const time = (Date.now() - ageMs) / 1000
  await utimes(file, time, time)
  return holder
}

test('runs and results of a machine that was lost are taken over, and its files are removed', async () => {
  const all = await allJobs()
  const [first, second] = keysOf(all)
  const job = all[1]
  if (job?.kind !== 'train') throw new Error('no job')
  const holder = await foreign(EXPIRY_MS + 1000)
  await writeFile(fake.file('out', 'cells', `${first}.1.json`), JSON.stringify({ holder, result: null }))
  const result = { record: finishedRun(job), specialisation: null, machine: 'a lost machine' }
  await writeFile(fake.file('out', 'cells', `${second}.1.json`), JSON.stringify({ holder: null, result }))
  // A report of a study that was killed includes these results.
  expect((await studyOf(fake.specification(input), fake.options())).ledger.machines).toEqual(['a lost machine'])
  const { jobs, run } = recorder()
  const { ledger } = await start(run, { join: false })
  expect(keysOf(jobs)).toHaveLength(5)
  expect(keysOf(jobs)).toContain(first)
  expect(keysOf(jobs)).not.toContain(second)
  expect(ledger.machines).toHaveLength(2)
  expect(readdirSync(fake.file('out'))).toEqual(['results.json.gz'])
})

test('while another machine is alive, a start without --join is refused, and a start with --join waits', async () => {
  const [first = ''] = keysOf(await allJobs())
  const holder = await foreign(0)
  await writeFile(fake.file('out', 'cells', `${first}.1.json`), JSON.stringify({ holder, result: null }))
  await expect(start(recorder().run, { join: false })).rejects.toThrow(/process 1 on gone.*with join /)
  const controller = new AbortController()
  const { jobs, run } = recorder()
  const onEvent: StudyOptions['onEvent'] = (event) => {
    fake.events.push(event)
    if (event.kind === 'waiting') controller.abort()
  }
  const { interrupted, others } = await start(run, { signal: controller.signal, onEvent })
  expect({ interrupted, others }).toEqual({ interrupted: true, others: ['process 1 on gone'] })
  expect(fake.of('waiting')).toMatchObject([{ runs: [{ by: 'process 1 on gone' }] }])
  expect(keysOf(jobs)).not.toContain(first)
})

test('results of another version of the numerics in a cell are refused', async () => {
  const [job] = await allJobs()
  if (job?.kind !== 'train') throw new Error('no job')
  await foreign(EXPIRY_MS + 1000)
  const result = { record: { ...finishedRun(job), version: NUMERICS + 1 }, machine: 'another' }
  await writeFile(fake.file('out', 'cells', `${job.key}.1.json`), JSON.stringify({ holder: null, result }))
  await expect(start(recorder().run)).rejects.toThrow(/newer program/)
})

test('a result in a cell that was changed after it was written, or has a field of another type, is refused', async () => {
  const [job] = await allJobs()
  if (job?.kind !== 'train') throw new Error('no job')
  await foreign(EXPIRY_MS + 1000)
  const path = fake.file('out', 'cells', `${job.key}.1.json`)
  const result = { record: finishedRun(job), machine: 'another' }
  const lower = { ...result, record: { ...result.record, seconds: 0.5 } }
  await writeFile(path, JSON.stringify({ holder: null, result: lower, checksum: checksumOf(result) }))
  await expect(start(recorder().run)).rejects.toThrow(
    /cells\/\w+\.1\.json: its result was changed after it was written/,
  )
  const wrong = { ...result, record: { ...result.record, layers: 5 } }
  await writeFile(path, JSON.stringify({ holder: null, result: wrong }))
  await expect(start(recorder().run)).rejects.toThrow(/its record is damaged: layers: 5 \(expected a list\)/)
})

/** The jobs of the study, from a start in another folder. */
async function allJobs(): Promise<readonly Job[]> {
  const { jobs, run } = recorder()
  await start(run, { directory: fake.file('elsewhere'), join: false })
  return jobs
}
