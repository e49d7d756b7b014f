/**
 * The estimate of a whole study, with probes that train nothing.
 *
 * @slow
 */
import { existsSync, readdirSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import type { StudyEvent } from '../events.ts'
import type { Job, JobResult } from '../runs/job.ts'
import type { ProbeResult } from '../runs/probe.ts'
import { runStudy } from '../runs/run-study.ts'
import type { RunJob } from '../runs/workers.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { type EstimateOptions, estimateStudy } from './estimate.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

/** Steps of 1 s, and 10 s for the evaluation of all held-out text; starting and saving take no time. */
const result: ProbeResult = {
  kind: 'probe',
  pace: {
    step: 1,
    evaluatedToken: 0.01,
    evaluation: 0,
    start: 0,
    load: 0,
    save: 0,
    trainTokens: 9000,
    heldOutTokens: 1000,
  },
  bytes: { checkpoint: 1e6, fixed: 1000, step: 10, routing: 0 },
  messages: ['no bf16 here'],
}

function probes(act: (job: Job) => JobResult = () => result) {
  const jobs: Job[] = []
  let [running, most] = [0, 0]
  const run: RunJob = async (job) => {
    jobs.push(job)
    most = Math.max(most, ++running)
    await new Promise((resolve) => setTimeout(resolve, 5))
    running--
    return job.kind === 'time' ? { kind: 'timing', stepMs: 100, engine: 'none' } : act(job)
  }
  return { jobs, run, most: () => most }
}

/** 20 steps, an evaluation of a batch (128 tokens, 1.28 s) at the end: a run takes 31.28 s. */
const set = { 'train.steps': 20, 'train.evalEvery': 20, 'train.evalBatches': 1, 'train.batch': 2, 'model.sequence': 64 }
const RUN = 20 + 1.28 + 10
const two = { arms: { a: {}, b: { 'model.moe.k': 2 } }, seeds: [1, 2, 3], set }

function estimate(input: SpecificationInput, more: Partial<EstimateOptions> = {}, run = probes().run) {
  const options = { jobs: 2, threads: 1, timingThreads: 2, keepCheckpoints: false, ...more }
  return estimateStudy(fake.specification(input), options, run)
}

test('each model is measured once, at the same time as others, and the sum of its runs is shared by the jobs', async () => {
  const { jobs, run, most } = probes()
  const found = await estimate(two, {}, run)
  expect(jobs.map(({ kind, config }) => [kind, config.model.moe?.k, config.runtime.threads])).toEqual([
    ['probe', 1, 1],
    ['probe', 2, 1],
  ])
  expect(most()).toBe(2)
  expect(found).toMatchObject({ seeds: 3, runs: 6, finished: 0, budget: null, possible: { runs: 0, seconds: 0 } })
  // The pilot of the two arms is all of the study.
  expect(found?.seconds.total).toBeCloseTo(3 * RUN)
  expect(found?.seconds).toMatchObject({
    training: expect.closeTo(60),
    evaluation: expect.closeTo(3 * 11.28),
    timing: 0,
  })
  expect(found?.arms.map(({ arm, runs, stepSeconds }) => [arm, runs, stepSeconds])).toEqual([
    ['a', 3, 1],
    ['b', 3, 1],
  ])
  expect(found?.arms[1]?.settings).toEqual({ 'model.moe.k': 2 })
  expect(found?.arms[0]?.warnings).toEqual(['no bf16 here'])
})

test('a single model is measured as often at a time as its runs will be trained', async () => {
  const { jobs, run, most } = probes()
  await estimate({ arms: { a: {} }, seeds: [1, 2, 3, 4], set }, { jobs: 3 }, run)
  expect([jobs.length, most()]).toEqual([3, 3])
})

test('finished runs count, and nothing is written into the folder of the study', async () => {
  const directory = fake.file('out')
  await estimate(two, { directory })
  expect(existsSync(directory)).toBe(false)
  const first = { ...two, seeds: [1, 2] }
  await runStudy(fake.specification(first), fake.options(), recorder().run)
  const before = readdirSync(directory, { recursive: true })
  const found = await estimate(two, { directory })
  expect(found).toMatchObject({ runs: 2, finished: 4 })
  expect(found?.seconds.total).toBeCloseTo(RUN)
  expect(readdirSync(directory, { recursive: true })).toEqual(before)
  const { jobs, run } = probes()
  expect(await estimate(first, { directory }, run)).toMatchObject({ runs: 0, seconds: { total: 0 } })
  expect(jobs).toEqual([])
})

test('step timing is measured by itself and named, and an arm that is only timed is measured too', async () => {
  const { jobs, run } = probes()
  const found = await estimate({ ...two, timings: ['a'], timedOnly: { c: { 'model.moe.k': 4 } } }, {}, run)
  const timings = jobs.filter(({ kind }) => kind === 'time')
  expect(timings.map(({ config }) => [config.model.moe?.k, config.runtime.threads])).toEqual([
    [1, 2],
    [4, 2],
  ])
  // Five turns of 70 steps of 0.1 s for each of the two.
  expect(found?.seconds.timing).toBeCloseTo(2 * 5 * 70 * 0.1)
  expect(found?.seconds.total).toBeCloseTo(3 * RUN + 70)
  expect(found?.arms[2]).toMatchObject({ arm: 'c', runs: 0 })
})

test('disk space: logs of all runs stay; a running training has an older and a newer checkpoint', async () => {
  const logs = 6 * (1000 + 20 * 10)
  expect((await estimate(two))?.bytes).toEqual({ peak: logs + 2 * 2e6, kept: logs })
  const kept = await estimate(two, { keepCheckpoints: true })
  expect(kept?.bytes).toMatchObject({ kept: logs + 6e6 })
})

test('an arm whose first steps fail is named with its error, and the others are estimated', async () => {
  const failing = probes((job) => {
    if (job.config.model.moe?.k === 2) throw new RunError('the model does not fit\nand more')
    return result
  })
  const found = await estimate(two, {}, failing.run)
  expect(found?.arms[1]).toMatchObject({
    stepSeconds: null,
    warnings: ['its first steps failed: the model does not fit'],
  })
  expect(found?.notes.join()).toContain('first steps failed')
  const broken = probes(() => {
    throw new RunError('no memory')
  })
  await expect(estimate(two, {}, broken.run)).rejects.toThrow('no arm can be trained: no memory')
})

test('a note names the settings of evaluations that take much of the time, and whether they are capped', async () => {
  const often = { ...two, set: { ...set, 'train.evalEvery': 1, 'train.evalBatches': 0 } }
  const found = await estimate(often)
  expect(found?.seconds.evaluation).toBeCloseTo(3 * 20 * 10)
  expect(found?.notes).toEqual([
    expect.stringMatching(
      /^evaluations take 91 % of the time: .* 19 during training .* each of 1,000 held-out tokens \(all of it, since train\.evalBatches is 0\)/,
    ),
  ])
  expect((await estimate(two))?.notes).toEqual([
    expect.stringMatching(/^evaluations take 36 % .* mostly the one after each run, of all 1,000 .* does not cap it/),
  ])
  expect((await estimate({ ...two, set: { ...set, 'train.steps': 200, 'train.evalEvery': 200 } }))?.notes).toEqual([])
})

test('arms with equal models and another warm-up have one note, with the arms whose warm-up is long', async () => {
  const { jobs, run } = probes()
  const arms = { sane: { 'train.schedule.warmup': 0 }, long: { 'train.schedule.warmup': 11 } }
  const more = { 'train.steps': 40, 'train.evalEvery': 40 }
  const found = await estimate({ arms, seeds: [1], set: { ...set, ...more } }, { jobs: 1 }, run)
  expect(jobs).toHaveLength(1)
  expect(found?.notes).toEqual([expect.stringContaining('a quarter of the steps: 11 of 40 steps in long;')])
})

test('matched arms are emitted if no study follows, also with a budget', async () => {
  const match = { equal: 'activeParameters', of: 'a' }
  const input = { ...two, arms: { a: {}, dense: { 'model.moe': null, match } } }
  const emitted = async (more: Partial<EstimateOptions>) => {
    const events: StudyEvent[] = []
    await estimate(input, { ...more, onEvent: (event) => void events.push(event) })
    return events.filter(({ kind }) => kind === 'match')
  }
  const dense = { kind: 'match', arm: 'dense', of: 'a', by: 'model.hidden', mismatch: 0 }
  expect(await emitted({ dryRun: true })).toEqual([expect.objectContaining(dense)])
  expect(await emitted({ dryRun: true, budget: 1e6 })).toHaveLength(1)
  expect(await emitted({ budget: 1e6 })).toEqual([])
})

test('a dry run emits the predictions, with the seeds that its budget chooses, and registers nothing', async () => {
  const predictions = [{ question: 'Every arm against a', expect: 'better' as const }]
  const emitted = async (input: object, more: Partial<EstimateOptions>) => {
    const events: StudyEvent[] = []
    await estimate({ ...two, predictions, ...input }, { ...more, onEvent: (event) => void events.push(event) })
    return events.flatMap((event) => (event.kind === 'predictions' ? [event] : []))
  }
  const [all] = await emitted({}, { dryRun: true })
  expect(all).toMatchObject({ predictions: [{ expect: 'better' }], at: null, ended: null, changes: 0 })
  const [chosen] = await emitted({}, { dryRun: true, budget: 2.5 * RUN })
  const [first] = await emitted({ seeds: [1, 2] }, { dryRun: true })
  expect(chosen?.sha256).toBe(first?.sha256)
  expect(chosen?.sha256).not.toBe(all?.sha256)
  expect(await emitted({}, { budget: 1e6 })).toEqual([])
})

test('a budget leaves out the last seeds; the estimate is then of the chosen ones', async () => {
  const found = await estimate(two, { budget: 2.5 * RUN })
  expect(found?.budget).toMatchObject({ seeds: 2, of: 3, needed: expect.closeTo(2 * RUN) })
  expect(found).toMatchObject({ seeds: 2, runs: 4 })
  expect(found?.seconds.total).toBeCloseTo(2 * RUN)
  expect(await estimate(two, { budget: RUN })).toMatchObject({ seeds: 3, budget: { seeds: null } })
})

test('runs that sweeps may add are counted apart, and a budget covers them', async () => {
  const tune = { rates: [0.5, 1], steps: 10, seeds: [0] }
  const found = await estimate({ ...two, seeds: [1, 2], tune })
  // Of each arm: two further trials, two runs that confirm a rate, and a run at the best rate for each seed.
  expect(found?.possible.runs).toBe(2 * (2 + 2 + 2))
  expect(found?.runs).toBe(2 * 2 + 2 * 2)
  const trial = 10 + 1.28 + 10
  expect(found?.seconds.total).toBeCloseTo(2 * trial + 2 * RUN)
  expect(found?.possible.seconds).toBeCloseTo(2 * trial + 2 * RUN + 2 * RUN)
  const budget = (found?.seconds.total ?? 0) + (found?.possible.seconds ?? 0)
  expect((await estimate({ ...two, seeds: [1, 2], tune }, { budget: budget + 1 }))?.budget?.seeds).toBe(2)
  expect((await estimate({ ...two, seeds: [1, 2], tune }, { budget: budget - 1 }))?.budget?.seeds).toBeNull()
})

test('the rungs of a search count with the steps that each adds; a budget has no seeds to leave out', async () => {
  const search = {
    settings: { 'train.schedule.learningRate': { choices: [0.001, 0.002, 0.003, 0.004] } },
    ...{ configurations: 4, eta: 2, minSteps: 5 },
  }
  const input = { seeds: [1], set: { ...set, 'train.evalEvery': 20 }, search }
  const found = await estimate(input, { jobs: 1 })
  // Four to step 5, two to step 10, one to step 20, each evaluated on all held-out text.
  expect(found?.seconds).toMatchObject({
    training: expect.closeTo(4 * 5 + 2 * 5 + 10),
    evaluation: expect.closeTo(71.28),
  })
  // Which configurations go on is not known yet.
  expect(found?.runs).toBe(7)
  expect(found?.arms.map(({ runs }) => runs)).toEqual([1, 1, 1, 1])
  await expect(estimate(input, { budget: 100 })).rejects.toThrow(/budget: a search trains with one seed/)
})

test('an aborted estimate has no result', async () => {
  const stop = new AbortController()
  const stopped = probes(() => {
    stop.abort()
    return { kind: 'stopped' }
  })
  expect(await estimate(two, { signal: stop.signal }, stopped.run)).toBeNull()
})
