/**
 * The order of the phases of a study, and failures and interruptions, with jobs that train nothing.
 *
 * @slow
 */
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import type { StudyEvent } from '../events.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { finishedRun } from '../testing/records.ts'
import { readStored, storedText } from '../testing/stored.ts'
import type { TrainJob } from './job.ts'
import { CellFolders } from './run-folder.ts'
import { runStudy, type StudyOptions } from './run-study.ts'
import type { RunJob } from './workers.ts'

let fake: FakeStudy
let folder: string
beforeEach(async () => {
  fake = await FakeStudy.open()
  folder = fake.folder
})
afterEach(() => fake.close())

const three = { arms: { a: {}, b: { 'model.moe.k': 2 }, c: { 'model.moe.k': 3 } }, seeds: [1, 2] }

const specification = (input: SpecificationInput = three) => fake.specification(input)
const options = (more: Partial<StudyOptions> = {}) => fake.options(more)

test('every cell is run once; a second start runs nothing, also without the run directories', async () => {
  const first = recorder()
  await runStudy(specification(), options(), first.run)
  expect(first.jobs).toHaveLength(6)
  await rm(join(folder, 'out', 'runs'), { recursive: true, force: true })
  const second = recorder()
  const { interrupted } = await runStudy(specification(), options(), second.run)
  expect(second.jobs).toHaveLength(0)
  expect(interrupted).toBe(false)
})

test('runs that end together are counted one by one', async () => {
  const counts: number[] = []
  const onEvent = (event: StudyEvent) => void (event.kind === 'end' && counts.push(event.finished))
  const { run } = recorder()
  await runStudy(specification(), options({ jobs: 6, onEvent }), run)
  expect(counts).toEqual([1, 2, 3, 4, 5, 6])
})

test('after a change of the grid only missing runs are done', async () => {
  await runStudy(specification(), options(), recorder().run)
  const more = recorder()
  const arms = { a: {}, renamed: { 'model.moe.k': 2 }, d: { 'model.moe.k': 4 } }
  await runStudy(specification({ arms, seeds: [1, 2, 3] }), options(), more.run)
  // Missing are the third seed of a and of the renamed arm, and all three seeds of d.
  expect(more.jobs.map((job) => job.config.model.moe?.k).sort()).toEqual([1, 2, 4, 4, 4])
})

test('equal cells of several arms are one run', async () => {
  const { jobs, run } = recorder()
  const input = { arms: { a: {}, b: { 'model.moe.k': 2 }, again: { 'model.moe.k': 2 } }, seeds: [1] }
  const questions = [{ title: 'q', baseline: 'a', arms: ['b', 'again'] }]
  const { ledger, grid } = await runStudy(specification({ ...input, questions }), options(), run)
  expect(jobs).toHaveLength(2)
  for (const { key, config } of grid.cells) expect(ledger.find(key, config)?.status).toBe('finished')
})

test('other text is read before the first run, and every run is evaluated on it', async () => {
  const { jobs, run } = recorder()
  await writeFile(join(folder, 'other.txt'), 'Quite another text, about whales. '.repeat(500))
  const elsewhere = [join(folder, 'other.txt')]
  await runStudy(specification({ ...three, elsewhere }), options(), run)
  expect(Object.keys((jobs[0] as TrainJob).elsewhere)).toEqual(elsewhere)
  const missing = runStudy(specification({ ...three, elsewhere: [join(folder, 'nowhere.txt')] }), options(), run)
  await expect(missing).rejects.toThrow(/nowhere\.txt/)
  expect(jobs).toHaveLength(6)

  await writeFile(elsewhere[0] as string, 'By now it is about something else. '.repeat(500))
  await expect(runStudy(specification({ ...three, elsewhere }), options(), run)).rejects.toThrow(/has changed/)
})

test('a note counts the runs that were done before another text was added', async () => {
  await runStudy(specification(), options(), recorder().run)
  await writeFile(join(folder, 'other.txt'), 'Quite another text, about whales. '.repeat(500))
  const notes: string[] = []
  const onEvent = (event: StudyEvent) => event.kind === 'note' && notes.push(event.message)
  const input = { ...three, elsewhere: [join(folder, 'other.txt')] }
  await runStudy(specification(input), options({ onEvent }), recorder().run)
  expect(notes).toEqual([expect.stringMatching(/^6 runs were done before .*other\.txt/)])
})

test('runs that failed come last, and many failures do not stop a study that has results', async () => {
  const arms = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`f${i}`, { 'model.moe.factor': 1 + i / 10 }]))
  const failing = recorder((job, done) => {
    if (done > 2) throw new RunError('step 12: the loss is NaN')
    return finishedRun(job)
  })
  await runStudy(specification({ arms, seeds: [1] }), options({ jobs: 1 }), failing.run)
  expect(failing.jobs).toHaveLength(12)
  const again = recorder()
  const more = { ...arms, extra: { 'model.moe.k': 2 } }
  await runStudy(specification({ arms: more, seeds: [1] }), options({ jobs: 1 }), again.run)
  expect(again.jobs).toHaveLength(11)
  expect(again.jobs[0]?.config.model.moe?.k).toBe(2)
})

test('a finished run stays finished if measuring its specialisation fails', async () => {
  await runStudy(specification(), options(), recorder().run)
  const failing = recorder(() => {
    throw new RunError('no luck')
  })
  const { ledger, grid } = await runStudy(specification({ ...three, specialise: ['a'] }), options(), failing.run)
  expect(failing.jobs).toHaveLength(1)
  expect(grid.cells.every(({ key, config }) => ledger.find(key, config)?.status === 'finished')).toBe(true)
})

test('a study finishes even if step times cannot be measured', async () => {
  const notes: string[] = []
  const { run } = recorder()
  const broken: RunJob = (job, ...rest) =>
    job.kind === 'time' ? Promise.reject(new RunError('no cores')) : run(job, ...rest)
  const onEvent = (event: StudyEvent) => event.kind === 'note' && notes.push(event.message)
  const { interrupted } = await runStudy(specification({ ...three, timings: ['a'] }), options({ onEvent }), broken)
  expect(interrupted).toBe(false)
  expect(notes).toEqual(['steps are not timed, because a failed: no cores'])
})

test('a data folder whose name looks like a list is found again at the next start', async () => {
  await mkdir(join(folder, 'Letters [1, 2]'))
  await writeFile(join(folder, 'Letters [1, 2]', 'a.txt'), 'A text about sparse experts, long enough. '.repeat(2000))
  const set = { 'data.source': join(folder, 'Letters [1, 2]') }
  await runStudy(specification({ ...three, set }), options(), recorder().run)
  const again = recorder()
  await runStudy(specification({ ...three, set }), options(), again.run)
  expect(again.jobs).toHaveLength(0)
})

test('a run that fails is recorded, the others continue, and the next start tries it again', async () => {
  const failing = recorder((job) => {
    if (job.config.model.moe?.k === 2) throw new RunError('the loss was not finite\nand more')
    return finishedRun(job)
  })
  const events: StudyEvent[] = []
  const { ledger, grid } = await runStudy(
    specification(),
    options({ onEvent: (event) => events.push(event) }),
    failing.run,
  )
  const statuses = grid.cells.map(({ arm, key, config }) => [arm, ledger.find(key, config)?.status])
  expect(statuses.filter(([arm]) => arm === 'b').every(([, status]) => status === 'failed')).toBe(true)
  expect(statuses.filter(([arm]) => arm !== 'b').every(([, status]) => status === 'finished')).toBe(true)
  expect(readStored<{ records: unknown[] }>(join(folder, 'out')).records).toHaveLength(6)
  const [failed] = events.flatMap((event) =>
    event.kind === 'end' && event.record.status === 'failed' ? [event.record] : [],
  )
  expect(failed?.error).toBe('the loss was not finite')

  const again = recorder()
  await runStudy(specification(), options(), again.run)
  expect(again.jobs).toHaveLength(2)
})

test('a study in which every run fails in the same way stops', async () => {
  const arms = Object.fromEntries([1, 2, 3, 4].map((k) => [`k${k}`, { 'model.moe.k': k }]))
  const failing = recorder(({ directory }) => {
    throw new RunError(`cannot write ${join(directory, 'checkpoints')}: the disk is full (${Math.random()} KiB free)`)
  })
  const study = runStudy(specification({ arms, seeds: [1, 2, 3] }), options({ jobs: 1 }), failing.run)
  await expect(study).rejects.toThrow(/the last 8 runs failed in the same way: cannot write .*: the disk is full/)
  expect(failing.jobs).toHaveLength(8)
})

test('an internal error stops the study instead of being recorded as a failed run', async () => {
  const broken = recorder(() => {
    throw new TypeError('internal: nonsense')
  })
  await expect(runStudy(specification(), options(), broken.run)).rejects.toThrow('internal: nonsense')
})

test('an interrupted study keeps finished runs and starts no more runs', async () => {
  const controller = new AbortController()
  const { jobs, run } = recorder((job, done) => {
    if (done === 2) controller.abort()
    return finishedRun(job)
  })
  const { interrupted } = await runStudy(specification(), options({ jobs: 1, signal: controller.signal }), run)
  expect(interrupted).toBe(true)
  expect(jobs).toHaveLength(2)
  const rest = recorder()
  await runStudy(specification(), options(), rest.run)
  expect(rest.jobs).toHaveLength(4)
})

test('a changed text is refused, and the results file stays as it is', async () => {
  await runStudy(specification(), options(), recorder().run)
  const before = storedText(join(folder, 'out'))
  await writeFile(join(folder, 'text.txt'), 'Another text altogether. '.repeat(4000))
  const { jobs, run } = recorder()
  await expect(runStudy(specification(), options(), run)).rejects.toThrow(
    /has changed since runs of this study were done/,
  )
  expect(jobs).toHaveLength(0)
  expect(storedText(join(folder, 'out'))).toBe(before)
})

test('arms take turns being timed, in alternating directions, with the threads for timing', async () => {
  const { jobs, run } = recorder()
  const input = { ...three, timings: ['a', 'b'], timedOnly: { s: { 'model.moe.every': 2 } } }
  const { ledger } = await runStudy(specification(input), options(), run)
  const timed = jobs.filter((job) => job.kind === 'time')
  const forth = ['1/1', '2/1', '1/2']
  const back = [...forth].reverse()
  const order = timed.map(({ config }) => `${config.model.moe?.k}/${config.model.moe?.every}`)
  expect(order).toEqual([forth, back, forth, back, forth].flat())
  expect(timed.every(({ config }) => config.runtime.threads === 2)).toBe(true)
  expect(ledger.timings.map(({ arm, turnsMs }) => [arm, turnsMs.length])).toEqual([
    ['a', 5],
    ['b', 5],
    ['s', 5],
  ])
  const again = recorder()
  await runStudy(specification(input), options(), again.run)
  expect(again.jobs).toHaveLength(0)
})

test('checkpoints of finished runs are deleted, unless they are to be kept', async () => {
  for (const keepCheckpoints of [false, true]) {
    const directory = join(folder, `out-${keepCheckpoints}`)
    const kept: string[] = []
    const run: RunJob = async (job) => {
      const checkpoints = join((job as TrainJob).directory, 'checkpoints')
      await mkdir(checkpoints, { recursive: true })
      kept.push(checkpoints)
      return { kind: 'record', record: finishedRun(job as TrainJob), specialisation: null }
    }
    await runStudy(specification({ arms: { a: {} }, seeds: [1] }), options({ directory, keepCheckpoints }), run)
    expect(kept.map((path) => existsSync(path))).toEqual([keepCheckpoints])
  }
})

test('checkpoints of a study that was killed after it kept a result are removed at the next start', async () => {
  const directory = join(folder, 'killed')
  const folders: string[] = []
  const run: RunJob = async (job) => {
    const checkpoints = join((job as TrainJob).directory, 'checkpoints')
    await mkdir(join(checkpoints, 'step-00000100'), { recursive: true })
    folders.push(checkpoints)
    return { kind: 'record', record: finishedRun(job as TrainJob), specialisation: null }
  }
  const input = { arms: { a: {} }, seeds: [1, 2] }
  // The first run keeps its checkpoints, because it is asked to.
  await runStudy(specification({ ...input, seeds: [1] }), options({ directory, keepCheckpoints: true }), run)
  const killed = vi.spyOn(CellFolders.prototype, 'removeLeftovers').mockRejectedValueOnce(new Error('killed'))
  await expect(runStudy(specification(input), options({ directory }), run)).rejects.toThrow('killed')
  killed.mockRestore()
  expect(folders.map((path) => existsSync(path))).toEqual([true, true])
  const again = recorder()
  const { ledger, grid } = await runStudy(specification(input), options({ directory }), again.run)
  expect(again.jobs).toHaveLength(0)
  expect(folders.map((path) => existsSync(path))).toEqual([true, false])
  expect(grid.cells.every(({ key, config }) => ledger.find(key, config)?.status === 'finished')).toBe(true)
})

test('a second study in the same folder at the same time is refused', async () => {
  let second: Promise<unknown> | undefined
  const run: RunJob = async (job) => {
    second ??= expect(runStudy(specification(), options(), recorder().run)).rejects.toThrow(/in use.*with join /)
    await second
    return { kind: 'record', record: finishedRun(job as TrainJob), specialisation: null }
  }
  await runStudy(specification(), options(), run)
  expect(second).toBeDefined()
})
