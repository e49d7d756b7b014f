/** The matmul rate of a machine that is busy at times, with given measurements and clock. */
import { expect, test } from 'vitest'
import { runSchema } from '../../core/config/run-config.ts'
import { describeModel } from '../../core/model/describe.ts'
import { Reporter } from '../loop/reporter.ts'
import type { RunLog } from '../run/run-log.ts'
import type { TrainRecord } from '../step/metrics/records.ts'
import { Ceiling } from './mfu.ts'

/** A ceiling whose measurements give these rates in turn, each in `ms`. */
function machine(rates: readonly number[], ms = 10) {
  const clock = { now: 0 }
  let measured = 0
  const ceiling = new Ceiling(
    async () => {
      clock.now += ms
      return rates[measured++] as number
    },
    () => clock.now,
  )
  return { ceiling, clock, measured: () => measured }
}

test('the ceiling is the largest measurement, in any order', async () => {
  for (const rates of [
    [200, 300, 250],
    [300, 250, 200],
    [250, 200, 300],
  ]) {
    const { ceiling } = machine(rates)
    for (const _ of rates) await ceiling.measure()
    expect(ceiling.report()).toEqual({ peakFlops: 300, lowestPeakFlops: 200, peakIsLowerBound: true })
    expect(ceiling.utilisation(150)).toBe(0.5)
  }
})

test('the ceiling is a lower bound if a measurement is more than a tenth below it', async () => {
  for (const [rates, bound] of [
    [[300, 271], false],
    [[300, 269], true],
    [[269, 300], true],
    [[300], false],
  ] as const) {
    const { ceiling } = machine(rates)
    for (const _ of rates) await ceiling.measure()
    expect(ceiling.report().peakIsLowerBound, String(rates)).toBe(bound)
  }
})

test('a recorded rate raises the ceiling; non-finite rates are ignored', async () => {
  const { ceiling } = machine([200])
  await ceiling.measure()
  for (const rate of [Number.NaN, Number.POSITIVE_INFINITY, 100]) ceiling.recordRate(rate)
  expect(ceiling.report().peakFlops).toBe(200)
  ceiling.recordRate(400)
  expect(ceiling.report()).toEqual({ peakFlops: 400, lowestPeakFlops: 200, peakIsLowerBound: true })
  expect(ceiling.utilisation(300)).toBe(0.75)
})

test('the ceiling is measured again if that takes at most a hundredth of the time since', async () => {
  const { ceiling, clock, measured } = machine([1, 2, 3], 10)
  await ceiling.measure()
  clock.now += 999
  await ceiling.measureIfCheap()
  expect(measured()).toBe(1)
  clock.now += 1
  await ceiling.measureIfCheap()
  expect(measured()).toBe(2)
  await ceiling.measureIfCheap()
  expect(measured()).toBe(2)
})

const config = runSchema.parse({
  model: { moe: null, sequence: 64, layers: 2, width: 32, heads: 2 },
  train: { batch: 4 },
})
const model = describeModel(config.model)
const tokens = 4 * 64
/** Number of operations of a step, with and without the masked half of attention. */
const [counted, needed] = [tokens * model.flopsPerToken, tokens * (model.flopsPerToken - model.maskedFlopsPerToken)]

async function reporting(rates: readonly number[]) {
  const { ceiling } = machine(rates)
  await ceiling.measure()
  const logged: TrainRecord[] = []
  const bounds: boolean[] = []
  const log: RunLog = { record: () => {}, recordRouting: () => {}, recordLedger: () => {} }
  const reporter = new Reporter(config, log, ceiling, (event) => {
    if (event.kind !== 'train') return
    logged.push(event)
    bounds.push(event.mfuAtMost === true)
  })
  const step = (ms: number) => {
    const outcome = {
      loss: 1,
      passLosses: [1],
      layerLoss: null,
      layers: [],
      gradNorm: 1,
      learningRate: 1,
      skipped: false,
      gradientMs: 0,
      updateMs: 0,
      keptByRank: null,
      own: null,
    }
    reporter.step(logged.length + 1, outcome, ms)
    return logged.at(-1)?.mfu
  }
  return { ceiling, reporter, step, bounds }
}

test('if the machine was busy at the start, no step exceeds 100 %, and the summary has the best ceiling', async () => {
  // Steps of one second run at 1.57 times the first measurement, and at half of the second.
  const { ceiling, reporter, step } = await reporting([counted / 1.57, 2 * counted])
  for (let i = 0; i < 3; i++) {
    const mfu = step(1000)
    expect(mfu).toBeLessThanOrEqual(1)
    expect(mfu).toBeGreaterThan(0.99)
  }
  await ceiling.measure()
  expect(reporter.speed().mfu).toBeCloseTo(0.5, 12)
  expect(step(1000)).toBeCloseTo(0.5, 12)
  expect(ceiling.report().peakIsLowerBound).toBe(true)
})

test('steps say that MFU is an upper bound as soon as they run faster than the matmul rate that was measured', async () => {
  const busy = await reporting([needed / 2])
  // The first step is slower than the measurement, and shows nothing. The second is faster by more than a tenth.
  busy.step(2100)
  busy.step(1000)
  busy.step(2100)
  expect(busy.bounds).toEqual([false, true, true])
  const quiet = await reporting([needed])
  quiet.step(1000)
  expect(quiet.bounds).toEqual([false])
})

test('the masked half of attention counts as operations, but does not raise the ceiling', async () => {
  // The step does all necessary operations at the full rate of the machine, because nothing else is running.
  const { ceiling, step } = await reporting([needed])
  expect(counted).toBeGreaterThan(needed)
  expect(step(1000)).toBe(1)
  expect(ceiling.report()).toEqual({ peakFlops: needed, lowestPeakFlops: needed, peakIsLowerBound: false })
  // At half of that rate, MFU includes the masked half.
  expect(step(2000)).toBeCloseTo(counted / needed / 2, 12)
})
