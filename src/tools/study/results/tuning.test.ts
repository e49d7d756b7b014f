/**
 * Learning-rate sweeps and the pilot, with losses that are known functions of the rate.
 *
 * @slow
 */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import type { FinishedRun } from '../contract.ts'
import { power } from '../power.ts'
import type { Job, TrainJob } from '../runs/job.ts'
import { runStudy, type StudyOptions, studyOf } from '../runs/run-study.ts'
import { study } from '../shown/study.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { finishedRun } from '../testing/records.ts'
import { readStored, writeStored } from '../testing/stored.ts'
import { resultsOf } from './results.ts'

/** A study flushes every claim and result, so small studies mostly wait for the disk. A folder in memory is faster. */
const root = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open(root)
})
afterEach(() => fake.close())

/** `tiny` has a rate of 0.003 and 20 steps, 5 of them warm-up. */
const common = 0.003
const set = { 'train.schedule.learningRate': common, 'train.schedule.warmup': 5, 'train.steps': 20 }
const arms = { a: {}, b: { 'model.moe.k': 2 } }
const input = { arms, set, seeds: [1, 2], tune: { rates: [2, 0.5, 1], steps: 0.4 } } satisfies SpecificationInput

const rateOf = ({ config }: Job) => config.train.schedule.learningRate
const kOf = ({ config }: Job) => config.model.moe?.k ?? 0
const stepsOf = ({ config }: Job) => config.train.steps

/** Losses on a parabola over the logarithm of the rate, with the minimum at `best[k]` times the common rate. */
const bowl =
  (best: Readonly<Record<number, number>>) =>
  (job: TrainJob): FinishedRun => {
    const distance = Math.log2(rateOf(job) / common / (best[kOf(job)] ?? 1))
    return withLoss(finishedRun(job), 4 + distance ** 2)
  }

const withLoss = (record: FinishedRun, loss: number): FinishedRun => ({
  ...record,
  heldOut: {
    ...record.heldOut,
    loss,
    capacities: { ...record.heldOut.capacities, train: { ...record.heldOut.capacities.train, loss } },
  },
})

const run = (jobs: ReturnType<typeof recorder>, more: SpecificationInput = {}, options: Partial<StudyOptions> = {}) =>
  runStudy(fake.specification({ ...input, ...more }), fake.options(options), jobs.run)

const trialsIn = (jobs: readonly Job[]) => jobs.filter((job) => job.kind === 'train' && job.trial)
/** The default seed of the runs that confirm a best rate. */
const CONFIRMING = 100
const wholeIn = (jobs: readonly Job[]) => jobs.filter((job) => job.kind === 'train' && !job.trial)
const confirmingIn = (jobs: readonly Job[]) => wholeIn(jobs).filter(({ config }) => config.train.seed === CONFIRMING)
const runsIn = (jobs: readonly Job[]) => wholeIn(jobs).filter(({ config }) => config.train.seed !== CONFIRMING)
const multiples = (jobs: readonly Job[], k: number) =>
  jobs.filter((job) => kOf(job) === k).map((job) => Number((rateOf(job) / common).toPrecision(6)))

test('every arm is swept first, then runs at the common rate, and at its best rate if that differs and is confirmed', async () => {
  const jobs = recorder(bowl({ 1: 1, 2: 1.6 }))
  const { ledger, grid } = await run(jobs)
  const trials = trialsIn(jobs.jobs)
  expect(jobs.jobs.slice(0, trials.length)).toEqual(trials)
  expect(multiples(trials, 1)).toEqual([0.5, 1, 2])
  // 1.6 is nearer to 2 than to 1 by logarithm, and 2 is the highest rate of the sweep, so 4 is tried as well.
  expect(multiples(trials, 2).sort()).toEqual([0.5, 1, 2, 4])
  expect(multiples(runsIn(jobs.jobs), 1)).toEqual([1, 1])
  expect(multiples(runsIn(jobs.jobs), 2).sort()).toEqual([1, 1, 2, 2])
  const confirming = confirmingIn(jobs.jobs)
  expect(jobs.jobs.slice(trials.length, trials.length + confirming.length)).toEqual(confirming)
  // An arm that keeps the common rate costs nothing more.
  expect([multiples(confirming, 1), multiples(confirming, 2).sort()]).toEqual([[], [1, 2]])
  for (const { config } of confirming) expect(config.train.steps).toBe(20)
  const foldersOf = (some: readonly Job[]) => new Set(some.map((job) => basename(dirname((job as TrainJob).directory))))
  expect([trials, confirming, runsIn(jobs.jobs)].map(foldersOf)).toEqual([
    new Set(['trials']),
    new Set(['confirming']),
    new Set(['runs']),
  ])

  const { cells, tuning } = resultsOf(fake.specification(input), fake.options(), grid, ledger)
  expect(cells.map(({ arm, seed, rate, record }) => [arm, seed, rate, record?.status])).toEqual(
    [1, 2].flatMap((seed) => [
      ['a', seed, 'common', 'finished'],
      ['b', seed, 'common', 'finished'],
      ['b', seed, 'best', 'finished'],
    ]),
  )
  const at = (multiple: number) => ({
    learningRate: common * multiple,
    loss: expect.closeTo(4 + Math.log2(multiple / 1.6) ** 2, 12),
  })
  expect(tuning.map(({ arm, best }) => [arm, best])).toEqual([
    ['a', common],
    ['b', 2 * common],
  ])
  expect(tuning.map(({ confirmed }) => confirmed)).toEqual([undefined, true])
  expect(tuning[1]).toMatchObject({ budgetSteps: 8, trials: [0.5, 1, 2, 4].map(at) })
  expect(fake.of('tuned').map(({ arm, edge }) => [arm, edge])).toEqual([
    ['a', null],
    ['b', null],
  ])
  // The results file has the sweeps too.
  expect(readStored<{ tuning: unknown }>(fake.file('out')).tuning).toEqual(tuning)
})

test('trials have the same budget for all arms, a schedule in proportion, and their own seeds', async () => {
  const jobs = recorder(bowl({}))
  await run(jobs, { elsewhere: [fake.file('text.txt')] })
  for (const job of trialsIn(jobs.jobs)) {
    const { steps, evalEvery, schedule } = job.config.train
    expect({ steps, evalEvery, warmup: schedule.warmup }).toEqual({ steps: 8, evalEvery: 8, warmup: 2 })
    expect(job.config.train.seed).toBe(0)
    expect((job as TrainJob).elsewhere).toEqual({})
  }
  for (const job of runsIn(jobs.jobs)) expect(Object.keys((job as TrainJob).elsewhere)).toHaveLength(1)
})

test('the best rate has the lowest mean loss over the seeds of the sweep', async () => {
  // With seed 5 alone a multiple of 0.5 would be best, with seed 6 alone 1; with both seeds 1 is best.
  const losses: Readonly<Record<number, readonly number[]>> = { 5: [4, 4.1, 5], 6: [4.6, 4.2, 5] }
  const jobs = recorder((job) => {
    const place = [0.5, 1, 2].indexOf(Number((rateOf(job) / common).toPrecision(6)))
    return withLoss(finishedRun(job), losses[job.seed]?.[place] ?? 4)
  })
  const { ledger, grid } = await run(jobs, { tune: { ...input.tune, seeds: [5, 6] } })
  const { tuning } = resultsOf(fake.specification(input), fake.options(), grid, ledger)
  expect(tuning[0]?.trials.map(({ loss }) => Number(loss?.toFixed(6)))).toEqual([4.3, 4.15, 5])
  expect(tuning[0]?.best).toBe(common)
})

test.each([
  [64, 'highest', [0.5, 1, 2, 4, 8]],
  [1 / 64, 'lowest', [0.125, 0.25, 0.5, 1, 2]],
] as const)(
  'a sweep whose best rate is beyond its edge is extended twice, and reports the edge: %d',
  async (best, edge, tried) => {
    const jobs = recorder(bowl({ 1: best, 2: 1 }))
    await run(jobs)
    expect(multiples(trialsIn(jobs.jobs), 1).sort()).toEqual([...tried].sort())
    expect(fake.of('tuned').find(({ arm }) => arm === 'a')).toMatchObject({
      edge,
      best: common * (edge === 'lowest' ? 0.125 : 8),
    })
  },
)

test('an arm keeps its own rate unless another is better by more than the margin', async () => {
  const lossAt = (own: number) => (job: TrainJob) => withLoss(finishedRun(job), rateOf(job) === common ? own : 4)
  const best = async (own: number, tune: object = {}) => {
    const directory = fake.file(`${own} ${JSON.stringify(tune)}`)
    await run(recorder(lossAt(own)), { tune: { ...input.tune, ...tune } }, { directory })
    return fake.of('tuned').at(-1)?.best
  }
  expect(await best(4.019)).toBe(common)
  expect(await best(4.021)).not.toBe(common)
  expect(await best(4.021, { margin: 0.1 })).toBe(common)
  expect(await best(4.001, { margin: 0 })).not.toBe(common)
})

test('an arm that is compared without a capacity limit has a sweep and a pilot without a capacity limit', async () => {
  // Without a limit high rates are better, at the capacity of training low rates.
  const act = (job: TrainJob) => {
    const record = finishedRun(job)
    const height = Math.log2(rateOf(job) / common)
    const at = (loss: number) => ({ loss, bits_per_byte: 1, drop_rate: 0, unserved_rate: 0 })
    const none = 5 - height - (job.config.model.moe?.router === 'sinkhorn' ? job.seed / 10 : 0)
    return {
      ...record,
      heldOut: { ...record.heldOut, capacities: { train: at(5 + height), eval: at(5), none: at(none) } },
    }
  }
  const greedy = { arms: { a: {}, s: { 'model.moe.router': 'sinkhorn' } }, set: { ...set, 'model.moe.capacity': 'kx' } }
  const jobs = recorder(act)
  const { ledger, grid } = await run(jobs, greedy)
  const { tuning, pilot } = resultsOf(fake.specification({ ...input, ...greedy }), fake.options(), grid, ledger)
  expect(tuning.map(({ arm, best }) => [arm, Math.round(Math.log2(best / common))])).toEqual([
    ['a', -3],
    ['s', 3],
  ])
  expect(pilot?.differences.map((value) => Number(value.toFixed(6)))).toEqual([-0.1, -0.2])
  // The event of a finished run has the loss without a limit, which counts.
  const end = fake.of('end').find(({ arm, seed, rate }) => arm === 's' && seed === 2 && rate === 'common')
  expect(end?.loss).toBeCloseTo(4.8, 12)
})

/** Trials prefer twice the common rate for k=2; whole runs at that rate have the given gain, by seed. */
const gainAt = (gains: Readonly<Record<number, number>>) => (job: TrainJob) => {
  const multiple = rateOf(job) / common
  const gain = job.trial ? 1 : (gains[job.seed] ?? 0)
  const loss = kOf(job) === 1 ? 4 + Math.abs(Math.log2(multiple)) : multiple === 1 ? 4 : multiple === 2 ? 4 - gain : 5
  return withLoss(finishedRun(job), loss)
}

test.each([
  ['is used although it is worse with the seeds of the study', { [CONFIRMING]: 0.1, 1: -1, 2: -1 }, [1, 1, 2, 2]],
  ['is not used although it is better with the seeds of the study', { [CONFIRMING]: -0.1, 1: 1, 2: 1 }, [1, 1]],
  ['is not used if it is only as good', { [CONFIRMING]: 0, 1: 1, 2: 1 }, [1, 1]],
])('a best rate %s: whole runs with another seed decide', async (_, gains, expected) => {
  const jobs = recorder(gainAt(gains))
  const { ledger, grid } = await run(jobs)
  expect(multiples(confirmingIn(jobs.jobs), 2).sort()).toEqual([1, 2])
  expect(multiples(runsIn(jobs.jobs), 2).sort()).toEqual(expected)
  const { cells, tuning } = resultsOf(fake.specification(input), fake.options(), grid, ledger)
  const isUsed = expected.length > 2
  expect(tuning[1]).toMatchObject({ arm: 'b', best: 2 * common, confirmed: isUsed })
  // The report reads the seeds of the study only.
  expect(new Set(cells.map(({ seed }) => seed))).toEqual(new Set([1, 2]))
  expect(cells.filter(({ rate }) => rate === 'best').map(({ arm, seed }) => [arm, seed])).toEqual(
    isUsed
      ? [
          ['b', 1],
          ['b', 2],
        ]
      : [],
  )
  const again = recorder(gainAt(gains))
  await run(again)
  expect(again.jobs).toEqual([])
})

test('the mean over several confirming seeds decides', async () => {
  const tune = { ...input.tune, confirm: [7, 8] }
  for (const [of8, confirmed] of [
    [-0.1, true],
    [-0.3, false],
  ] as const) {
    const directory = fake.file(String(confirmed))
    const jobs = recorder(gainAt({ 7: 0.2, 8: of8 }))
    const { ledger, grid } = await run(jobs, { tune }, { directory })
    expect(wholeIn(jobs.jobs).filter(({ config }) => config.train.seed > 2)).toHaveLength(4)
    const { tuning } = resultsOf(fake.specification(input), fake.options(), grid, ledger)
    expect(tuning[1]?.confirmed).toBe(confirmed)
  }
})

test('a confirming run that fails is worse than any other, and is tried again at the next start', async () => {
  const failing = (multiple: number) => (job: TrainJob) => {
    if (job.seed === CONFIRMING && rateOf(job) === multiple * common) throw new RunError('step 3: the loss is NaN')
    return gainAt({ [CONFIRMING]: 0.1 })(job)
  }
  const confirmed = async (multiple: number) => {
    const directory = fake.file(String(multiple))
    const { ledger, grid } = await run(recorder(failing(multiple)), {}, { directory })
    return resultsOf(fake.specification(input), fake.options(), grid, ledger).tuning[1]?.confirmed
  }
  expect([await confirmed(1), await confirmed(2)]).toEqual([true, false])
  const again = recorder(gainAt({ [CONFIRMING]: 0.1 }))
  await run(again, {}, { directory: fake.file('2') })
  expect([confirmingIn(again.jobs).length, multiples(runsIn(again.jobs), 2)]).toEqual([1, [2, 2]])
})

test('results without confirming runs are read at the common rate; the next start does only these runs', async () => {
  const act = gainAt({ [CONFIRMING]: 0.1, 1: 0.1, 2: 0.1 })
  const first = recorder(act)
  await run(first)
  const contents = readStored<{ records: FinishedRun[] }>(fake.file('out'))
  const records = contents.records.filter(({ seed }) => seed !== CONFIRMING)
  writeStored(fake.file('out'), JSON.stringify({ ...contents, records }))
  const specification = fake.specification(input)
  const { grid, ledger } = await studyOf(specification, fake.options())
  const { cells, tuning } = resultsOf(specification, fake.options(), grid, ledger)
  expect(tuning[1]).toMatchObject({ best: 2 * common, confirmed: null })
  expect(cells.map(({ rate }) => rate)).toEqual(Array(4).fill('common'))
  const again = recorder(act)
  await run(again)
  expect(again.jobs).toHaveLength(2)
  expect(confirmingIn(again.jobs)).toHaveLength(2)
})

test('a failed trial is never the best, and is tried again at the next start; if all fail, none is best', async () => {
  const failing = recorder((job) => {
    if (job.trial && (kOf(job) === 2 || rateOf(job) > common)) throw new RunError('step 3: the loss is NaN')
    return bowl({ 1: 4 })(job)
  })
  const { ledger, grid } = await run(failing, {}, { jobs: 1 })
  const { tuning, cells } = resultsOf(fake.specification(input), fake.options(), grid, ledger)
  expect(tuning.map(({ arm, best, trials }) => [arm, best, trials.at(-1)?.loss])).toEqual([['a', common, null]])
  expect(cells.every(({ rate, record }) => rate === 'common' && record?.status === 'finished')).toBe(true)
  expect(fake.of('note').map(({ message }) => message)).toEqual([
    'no trial of b finished: it has no best learning rate',
  ])
  // The rate that had failed is worse than the common one, so there are no further runs.
  const again = recorder(bowl({ 1: 0.25, 2: 1 }))
  await run(again)
  expect(trialsIn(again.jobs)).toHaveLength(4)
  expect(runsIn(again.jobs)).toHaveLength(0)
})

test('a study stopped in a sweep continues with the remaining trials; a finished study runs nothing', async () => {
  const controller = new AbortController()
  const act = bowl({ 1: 1, 2: 1.6 })
  const stopped = recorder((job, done) => {
    if (done === 2) controller.abort()
    return act(job)
  })
  expect((await run(stopped, {}, { jobs: 1, signal: controller.signal })).interrupted).toBe(true)
  const rest = recorder(act)
  await run(rest)
  expect(trialsIn(rest.jobs)).toHaveLength(7 - 2)
  expect(runsIn(rest.jobs)).toHaveLength(6)
  await rm(fake.file('out', 'trials'), { recursive: true, force: true })
  const again = recorder(act)
  await run(again)
  expect(again.jobs).toHaveLength(0)
})

test('after a change of the sweep only missing trials are run', async () => {
  const act = bowl({ 1: 1, 2: 1 })
  await run(recorder(act))
  const wider = recorder(act)
  await run(wider, { tune: { ...input.tune, rates: [0.25, 0.5, 1, 2] } })
  expect(wider.jobs.map((job) => [kOf(job), rateOf(job) / common])).toEqual([
    [1, 0.25],
    [2, 0.25],
  ])
  const longer = recorder(act)
  await run(longer, { tune: { ...input.tune, steps: 10 } })
  expect(longer.jobs.map(stepsOf)).toEqual(Array(6).fill(10))
  const without = recorder(act)
  const { grid, ledger } = await runStudy(fake.specification({ arms, set, seeds: [1, 2] }), fake.options(), without.run)
  expect(without.jobs).toHaveLength(0)
  expect(resultsOf(fake.specification(input), fake.options(), grid, ledger).tuning).toEqual([])
})

test('the record of a trial is never used for a run with the same configuration', async () => {
  await run(recorder(bowl({})))
  const short = recorder(bowl({}))
  const shorter = { 'train.steps': 8, 'train.evalEvery': 8, 'train.schedule.warmup': 2 }
  const both = { whole: {}, a: shorter, b: { ...arms.b, ...shorter } }
  const questions = [{ title: 'short', baseline: 'a', arms: ['b'] }]
  await runStudy(fake.specification({ arms: both, set, questions, seeds: [0, 1] }), fake.options(), short.run)
  const ofTrials = short.jobs.filter((job) => job.kind === 'train' && job.config.train.seed === 0 && stepsOf(job) === 8)
  expect(ofTrials).toHaveLength(2)
})

test('the pilot comes before the other runs, and reports the detectable effect', async () => {
  const third = { ...arms, c: { 'model.moe.k': 3 } }
  // b is better by 0.1, 0.2 and 0.3: deviation 0.1.
  const jobs = recorder((job) => withLoss(finishedRun(job), 4 - (kOf(job) === 2 ? job.seed / 10 : 0)))
  const plain = { arms: third, set, seeds: [1, 2, 3] }
  const outcome = await study(fake.specification(plain), fake.options({ jobs: 1 }), jobs.run)
  const [pilot] = fake.of('pilot')
  expect(outcome.finished).toBe(9)
  expect(jobs.jobs.map(kOf)).toEqual([1, 2, 1, 2, 1, 2, 3, 3, 3])
  expect(pilot).toMatchObject({ baseline: 'a', arm: 'b', seeds: 3 })
  expect(pilot?.deviation).toBeCloseTo(0.1, 12)
  expect(pilot?.differences.map((value) => Number(value.toFixed(6)))).toEqual([-0.1, -0.2, -0.3])
  // A paired t with 3 pairs detects 3.26 deviations at 80 % power (G*Power, effect size dz).
  expect(pilot?.detectable).toBeCloseTo(0.326, 3)
  expect(fake.events.filter(({ kind }) => kind === 'begin' || kind === 'pilot').map(({ kind }) => kind)).toEqual([
    ...new Array(6).fill('begin'),
    'pilot',
    ...new Array(3).fill('begin'),
  ])
  const stored = readStored<{ pilot: { detectable: number } }>(fake.file('out'))
  expect(stored.pilot.detectable).toBe(pilot?.detectable)
})

test('the pilot of a study that asks for anytime intervals has the effect that these find', async () => {
  const jobs = recorder((job) => withLoss(finishedRun(job), 4 - (kOf(job) === 2 ? job.seed / 10 : 0)))
  const pilotWith = async (seeds: readonly number[]) => {
    const fields = { arms, set, seeds: [...seeds], intervals: 'anytime' } satisfies SpecificationInput
    const { grid, ledger } = await runStudy(fake.specification(fields), fake.options({ jobs: 1 }), jobs.run)
    return resultsOf(fake.specification(fields), fake.options(), grid, ledger).pilot
  }
  // Two seeds have no such interval, so they find nothing.
  expect(await pilotWith([1, 2])).toBeNull()
  expect(fake.of('pilot')).toEqual([])
  const pilot = await pilotWith([1, 2, 3])
  expect(pilot?.deviation).toBeCloseTo(0.1, 12)
  // The interval of three seeds is 13.2 / 4.3 times as wide as Student's, which finds 0.326.
  expect(pilot?.detectable).toBeGreaterThan(0.9)
  expect(power((pilot?.detectable ?? 0) / (0.1 / Math.sqrt(3)), 2, 'anytime')).toBeCloseTo(0.8, 6)
})

test('a worker that finds no run of the pilot begins another, and the pilot is reported when its own runs have ended', async () => {
  const third = { ...arms, c: { 'model.moe.k': 3 } }
  let endPilot = () => {}
  const isThird = new Promise<void>((resolve) => {
    endPilot = resolve
  })
  let open = 0
  const jobs = recorder()
  const run: typeof jobs.run = async (...args) => {
    const [job] = args
    // The pilot ends when a run of another arm has begun, and that run ends last.
    if (kOf(job) === 3 && ++open === 1) endPilot()
    await isThird
    return jobs.run(...args)
  }
  await runStudy(fake.specification({ arms: third, set, seeds: [1, 2] }), fake.options({ jobs: 5 }), run)
  const of = (kind: 'begin' | 'end', arm: string) =>
    fake.events.flatMap((event, i) => (event.kind === kind && event.arm === arm ? [i] : []))
  const at = fake.events.findIndex(({ kind }) => kind === 'pilot')
  expect(fake.of('pilot')).toHaveLength(1)
  expect(of('begin', 'c')[0]).toBeLessThan(of('end', 'a')[0] as number)
  expect(at).toBeGreaterThan(Math.max(...of('end', 'a'), ...of('end', 'b')))
  expect(fake.of('end').map(({ runs }) => runs)).toEqual(new Array(6).fill(6))
})

test('the specification may name the pilot, and with one seed there is no deviation to report', async () => {
  const jobs = recorder()
  const third = { ...arms, c: { 'model.moe.k': 3 } }
  const { grid, ledger } = await runStudy(
    fake.specification({ arms: third, set, seeds: [1], pilot: ['b', 'c'] }),
    fake.options({ jobs: 1 }),
    jobs.run,
  )
  expect(jobs.jobs.map(kOf)).toEqual([2, 3, 1])
  expect(fake.of('pilot')).toEqual([])
  expect(resultsOf(fake.specification(input), fake.options(), grid, ledger).pilot).toBeNull()
})
