/**
 * The order in which branches are trained, the checkpoints that they start from, and the checkpoints that stay. The
 * jobs of these tests train nothing.
 *
 * @slow
 */
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { folderName } from '../../../train/run/checkpoint/description.ts'
import type { StudyEvent } from '../events.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder, runWithGivenLoss } from '../testing/fake-study.ts'
import { finishedRun } from '../testing/records.ts'
import type { TrainJob } from './job.ts'
import { CellFolders } from './run-folder.ts'
import { runStudy, type StudyOptions } from './run-study.ts'
import type { RunJob } from './workers.ts'

vi.setConfig({ testTimeout: 60_000 })

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

const input: SpecificationInput = {
  arms: { a: {}, b: { 'model.moe.k': 2 }, c: { 'model.moe.k': 3 } },
  seeds: [1, 2],
  set: { 'train.steps': 80, 'train.schedule': { kind: 'wsd', warmup: 4, decay: 0.25 } },
  branches: [0.25, 0.5, 1],
}
const start = (run: RunJob, more: Partial<StudyOptions> = {}, of = input) => {
  const set = { ...input.set, ...of.set }
  return runStudy(fake.specification({ ...of, set }), fake.options(more), run)
}

/** The name of the chain of a job: its arm and seed. */
const chainOf = ({ config, seed }: TrainJob) => `${'abc'[(config.model.moe?.k ?? 1) - 1]}${seed}`
const stepsOf = ({ config }: TrainJob) => config.train.steps

/** Makes a function that takes a moment for each job, and logs when the job begins and ends. */
function logger(act: (job: TrainJob) => Promise<void> = async () => {}) {
  const log: { readonly what: 'begin' | 'end'; readonly job: TrainJob }[] = []
  const run: RunJob = async (job) => {
    if (job.kind !== 'train') throw new Error('nothing is timed')
    log.push({ what: 'begin', job })
    await act(job)
    await new Promise((resolve) => setTimeout(resolve, 2 + (stepsOf(job) % 7)))
    log.push({ what: 'end', job })
    return { kind: 'record', record: finishedRun(job), specialisation: null }
  }
  const begun = () => log.flatMap(({ what, job }) => (what === 'begin' ? [job] : []))
  return { log, run, begun }
}

/**
 * Asserts that the branches of a chain were trained one after the other, from the shortest to the longest. Returns the
 * largest number of chains that were open at once.
 */
function expectChains(log: ReturnType<typeof logger>['log']): number {
  const open = new Map<string, number[]>()
  const running = new Set<string>()
  let most = 0
  for (const { what, job } of log) {
    const chain = chainOf(job)
    if (what === 'begin') {
      expect(running.has(chain)).toBe(false)
      running.add(chain)
      open.set(chain, [...(open.get(chain) ?? []), stepsOf(job)])
    } else running.delete(chain)
    most = Math.max(most, [...open].filter(([one, steps]) => steps.length < 3 || running.has(one)).length)
  }
  for (const steps of open.values()) expect(steps).toEqual([20, 40, 80])
  return most
}

test('branches of an arm and a seed are trained by rising length, with as many open chains as jobs', async () => {
  for (const jobs of [1, 2]) {
    const { log, run, begun } = logger()
    await start(run, { jobs, directory: fake.file(`out-${jobs}`) })
    expect(begun()).toHaveLength(18)
    expect(expectChains(log)).toBe(jobs)
  }
})

test('each job names the directory of the shorter branch, and its checkpoint at the start of the decay', async () => {
  const { run, begun } = logger()
  await start(run)
  const jobs = new Map(begun().map((job) => [`${chainOf(job)} ${stepsOf(job)}`, job]))
  for (const job of jobs.values()) {
    const shorter = jobs.get(`${chainOf(job)} ${stepsOf(job) / 2}`)
    expect(job.trunk).toEqual(shorter && { directory: shorter.directory, step: 0.75 * stepsOf(shorter) })
    expect(job.trial).toBe(false)
  }
})

test('the pilot trains the whole chains of its arms', async () => {
  const { run, begun } = logger()
  await start(run, {}, { ...input, pilot: ['a', 'c'] })
  const pilot = begun().slice(0, 12)
  expect(new Set(pilot.map(chainOf))).toEqual(new Set(['a1', 'a2', 'c1', 'c2']))
  expect(fake.of('pilot')).toHaveLength(1)
})

test('work is counted without the steps that another branch has done', async () => {
  const work = async (of: SpecificationInput) => {
    const events: StudyEvent[] = []
    await start(
      logger().run,
      { jobs: 1, directory: fake.file(`out ${of.branches?.length}`), onEvent: (event) => void events.push(event) },
      of,
    )
    const [phase] = events.filter((event) => event.kind === 'phase')
    const begun = events.flatMap((event) => (event.kind === 'begin' ? [event.flops] : []))
    expect(phase?.flopsLeft).toBeCloseTo(
      begun.reduce((sum, flops) => sum + flops, 0),
      0,
    )
    return phase?.flopsLeft ?? 0
  }
  const { branches: _, ...whole } = { ...input, seeds: [1] }
  // 1 + decay · (1/4 + 1/2)
  expect((await work({ ...input, seeds: [1] })) / (await work(whole))).toBeCloseTo(1 + 0.25 * 0.75, 9)
})

/** Leaves the checkpoints of a training with `keep: 1`: the first at the start of the decay, the second at the end. */
const training = async (job: TrainJob) => {
  for (const step of [0.75 * stepsOf(job), stepsOf(job)])
    await mkdir(join(checkpointsOf(job.directory), folderName(step)), { recursive: true })
}
const checkpointsIn = (directory: string) =>
  existsSync(checkpointsOf(directory)) ? readdirSync(checkpointsOf(directory)) : []

test('the checkpoint of a branch stays until the longer branch has ended, and is then removed', async () => {
  const { run } = logger(async (job) => {
    if (job.trunk) expect(checkpointsIn(job.trunk.directory)).toEqual([folderName(job.trunk.step)])
    await training(job)
  })
  await start(run)
  const runs = readdirSync(fake.file('out', 'runs'))
  expect(runs).toHaveLength(18)
  for (const name of runs) expect(checkpointsIn(fake.file('out', 'runs', name))).toEqual([])
})

const checkpointsOfRuns = () =>
  readdirSync(fake.file('out', 'runs')).map((name) =>
    checkpointsIn(fake.file('out', 'runs', name)).filter((checkpoint) => checkpoint.startsWith('step-')),
  )

test('a longer branch that is trained without --keep-checkpoints leaves those of a shorter one that was kept', async () => {
  const controller = new AbortController()
  const stopping = logger(async (job) => {
    await training(job)
    controller.abort()
  })
  const one = { ...input, arms: { a: {} }, seeds: [1] }
  await start(stopping.run, { keepCheckpoints: true, signal: controller.signal, jobs: 1 }, one)
  expect(checkpointsOfRuns().map(({ length }) => length)).toEqual([2])
  const { run, begun } = logger(training)
  await start(run, { jobs: 1 }, one)
  expect(begun().map(stepsOf)).toEqual([40, 80])
  expect(
    checkpointsOfRuns()
      .map(({ length }) => length)
      .sort(),
  ).toEqual([0, 0, 2])
})

test('a study that is started again continues its chains, from checkpoints that are still there', async () => {
  const controller = new AbortController()
  const first = logger(async (job) => {
    await training(job)
    if (stepsOf(job) === 40) controller.abort()
  })
  const stopped: RunJob = async (job, signal, onUpdate) => {
    const result = await first.run(job, signal, onUpdate)
    return signal.aborted ? { kind: 'stopped' } : result
  }
  await start(stopped, { signal: controller.signal, jobs: 1 })
  expect(first.begun().map(stepsOf)).toEqual([20, 40])
  const second = logger(async (job) => {
    if (job.trunk) expect(checkpointsIn(job.trunk.directory)).toContain(folderName(job.trunk.step))
    await training(job)
  })
  await start(second.run, { jobs: 1 })
  expect(second.begun().map(stepsOf).slice(0, 3)).toEqual([40, 80, 20])
  expect(second.begun()).toHaveLength(17)
})

test('after a kill between a result and the removal, a checkpoint that a longer branch continues stays', async () => {
  const killed = vi.spyOn(CellFolders.prototype, 'removeLeftovers').mockRejectedValueOnce(new Error('killed'))
  const one = { ...input, arms: { a: {} }, seeds: [1] }
  const first = logger(training)
  await expect(start(first.run, { jobs: 1 }, one)).rejects.toThrow('killed')
  killed.mockRestore()
  const { directory } = first.begun()[0] as TrainJob
  expect(checkpointsIn(directory)).toEqual(expect.arrayContaining(['step-00000015', 'step-00000020']))
  const second = logger(async (job) => {
    if (stepsOf(job) === 40) expect(checkpointsIn(directory)).toEqual(['step-00000015'])
    await training(job)
  })
  await start(second.run, { jobs: 1 }, one)
  expect(second.begun().map(stepsOf)).toEqual([40, 80])
  expect(checkpointsIn(directory)).toEqual([])
})

test('without run directories, longer branches are still trained, and shorter ones are not trained again', async () => {
  const shorter = { ...input, branches: [0.25, 0.5, 1], seeds: [1] }
  const { run: some } = recorder((job) => {
    if (stepsOf(job) === 80) throw new RunError('no luck')
    return finishedRun(job)
  })
  await start(some, {}, shorter)
  await rm(fake.file('out', 'runs'), { recursive: true, force: true })
  const rest = logger()
  await start(rest.run, {}, shorter)
  expect(rest.begun().map(stepsOf)).toEqual([80, 80, 80])
})

test('longer branches are trained after a branch that fails, which the next start tries again', async () => {
  const failing = recorder((job) => {
    if (stepsOf(job) === 40 && chainOf(job) === 'b1') throw new RunError('the loss is NaN')
    return finishedRun(job)
  })
  const { ledger, grid } = await start(failing.run)
  expect(failing.jobs).toHaveLength(18)
  expect(grid.cells.filter(({ key, config }) => ledger.find(key, config)?.status === 'failed')).toHaveLength(1)
  const again = logger()
  await start(again.run)
  expect(again.begun().map((job) => [chainOf(job), stepsOf(job)])).toEqual([['b1', 40]])
})

test('two starts train every branch once, and the branches of a chain one after the other', async () => {
  const { log, run, begun } = logger()
  await Promise.all([start(run, { join: true, jobs: 1 }), start(run, { join: true, jobs: 1 })])
  expect(new Set(begun().map(({ key }) => key)).size).toBe(18)
  expect(begun()).toHaveLength(18)
  expect(expectChains(log)).toBeLessThanOrEqual(2)
})

test('an arm with another best rate has a chain there too; pilot and best rate rest on whole runs', async () => {
  const common = 0.003
  // Trials prefer half the rate for b; the losses of shorter branches are absurd.
  const { jobs, run } = recorder((job) => {
    const { learningRate } = job.config.train.schedule
    const isBest = chainOf(job).startsWith('b') && learningRate === common / 2
    const short = !job.trial && stepsOf(job) < 80 ? 100 * job.seed * (job.config.model.moe?.k ?? 1) : 0
    return runWithGivenLoss(
      job,
      5 - (isBest ? 0.5 : 0) + (job.trial ? Math.abs(Math.log(learningRate / common)) : 0) * (isBest ? 0 : 1) + short,
    )
  })
  const of = {
    ...input,
    tune: { margin: 0 },
    set: { 'train.schedule': { kind: 'wsd', warmup: 4, decay: 0.25, learningRate: common } },
  }
  await start(run, {}, of)
  const best = (jobs as TrainJob[]).filter(
    ({ trial, seed, config }) => !trial && seed < 3 && config.train.schedule.learningRate !== common,
  )
  expect(best.map((job) => `${chainOf(job)} ${stepsOf(job)}`).sort()).toEqual(
    ['b1', 'b2'].flatMap((chain) => [20, 40, 80].map((steps) => `${chain} ${steps}`)),
  )
  expect(fake.of('pilot')[0]?.differences).toEqual([0, 0])
})
