import fc from 'fast-check'
import { expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { loadPlannedRun, parseCluster } from '../inputs/load-plan.ts'
import { countParameters } from '../work/parameter-counts.ts'
import { bestInterval, failuresOf, goodputOf } from './failures.ts'

// Daly (2006), figures 3 to 5: checkpoints of 5 minutes, restarts of 10.
test.each([
  ['24 h', 24 * 60, 117],
  ['6 h', 6 * 60, 57],
  ['15 min', 15, 9.1],
])('with a failure every %s the best interval is that of the paper', (_, mean, expected) => {
  expect(bestInterval(5, mean)).toBeCloseTo(expected, expected < 10 ? 1 : -0.3)
})

/** Goodput of a simulated training: failures at random, also during checkpoints and restarts. */
function simulated(every: number, write: number, restart: number, mean: number, segments: number): number {
  const random = randomFor(1, 'failures')
  const next = () => -mean * Math.log(1 - random.uniform())
  let time = 0
  let failure = next()
  const passes = (duration: number): boolean => {
    const done = failure >= duration
    time += done ? duration : failure
    failure = done ? failure - duration : next()
    return done
  }
  for (let done = 0; done < segments; )
    if (passes(every + write)) done++
    else while (!passes(restart));
  return (segments * every) / time
}

test.each([
  [60, 5, 10, 24 * 60],
  [57, 5, 10, 6 * 60],
  [10, 5, 10, 15],
])('goodput equals that of a simulation: %d min, %d to write, %d to restart, %d between failures', (...times) => {
  expect(goodputOf(...times) / simulated(...times, 20_000)).toBeCloseTo(1, 1.5)
})

test('no other interval has a higher goodput, within a thousandth', () => {
  const time = (max: number) => fc.double({ min: 1, max, noNaN: true })
  fc.assert(
    fc.property(time(600), time(3600), fc.double({ min: 4, max: 1e4, noNaN: true }), (write, restart, ratio) => {
      const mean = write * ratio
      const best = bestInterval(write, mean)
      const at = (every: number) => goodputOf(every, write, restart, mean)
      for (const factor of [0.5, 0.8, 0.95, 1.05, 1.25, 2])
        expect(at(best * factor)).toBeLessThanOrEqual(at(best) * 1.001)
    }),
  )
})

const failures = async (cluster: object, plan: object = {}) => {
  const run = await loadPlannedRun(
    'mixtral-8x7b',
    Object.entries(plan).map(([name, value]) => `plan.${name}=${value}`),
  )
  const parsed = parseCluster({ extends: 'h100', devices: 128, ...cluster })
  return { found: failuresOf(run, parsed, countParameters(run.model)), parameters: countParameters(run.model).total }
}

test('a checkpoint has the weights and the state of the optimizer, and every device writes its share', async () => {
  const { found, parameters } = await failures({ storage: '250 MB/s' }, { optimizer: 'adamw' })
  // Float32 originals and two moments of 4 bytes.
  expect(found.checkpointBytes).toBe(12 * parameters)
  expect(found.checkpointSeconds).toBeCloseTo((12 * parameters) / (128 * 250e6), 9)
  const plain = await failures({}, { optimizer: 'adamw', master: false, state: 'bfloat16' })
  expect(plain.found.checkpointBytes).toBe(6 * parameters)
})

test('a rate of the cluster has no range, and checkpoints of the plan replace the best interval', async () => {
  const published = (await failures({})).found
  expect(published.everySeconds).toBeCloseTo((20_000 / 128) * 3600, 6)
  expect(published.range?.few).toBeLessThan(published.goodput)
  expect(published.range?.many).toBeGreaterThan(published.goodput)
  const own = await failures({ failures: { deviceHours: 1000, restart: '30 min' } }, { checkpointEvery: '2 h' })
  expect(own.found).toMatchObject({ deviceHours: 1000, range: null, checkpointEvery: 7200 })
  expect(own.found.goodput).toBeLessThan(published.goodput)
})
