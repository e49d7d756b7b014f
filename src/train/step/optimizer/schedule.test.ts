import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { balanceSchedule, decayStart, learningRate } from './schedule.ts'

const base = { learningRate: 0.4, warmup: 4, final: 0.1, decay: 0.2 }

test('warm-up is linear and reaches the peak at its last step, for every kind', () => {
  for (const kind of ['cosine', 'inverse-sqrt', 'constant', 'wsd'] as const)
    for (const [step, rate] of [
      [1, 0.1],
      [2, 0.2],
      [3, 0.3],
      [4, 0.4],
    ] as const)
      expect(learningRate({ ...base, kind }, step, 12)).toBeCloseTo(rate, 12)
})

test('cosine falls from the peak to the final share at the last step, as worked by hand', () => {
  const cosine = (step: number) => learningRate({ ...base, kind: 'cosine' }, step, 12)
  // 4 + 8 steps: a quarter is cos(π/4) = 0.7071, half is 0, so 0.4·(0.1 + 0.9·0.5·(1 + c)).
  expect(cosine(6)).toBeCloseTo(0.4 * (0.1 + 0.45 * 1.70710678), 8)
  expect(cosine(8)).toBeCloseTo(0.22, 12)
  expect(cosine(12)).toBeCloseTo(0.04, 12)
  expect(cosine(20)).toBeCloseTo(0.04, 12)
})

test('inverse square root halves when the step is four times the warm-up', () => {
  const schedule = { ...base, kind: 'inverse-sqrt' as const }
  expect(learningRate(schedule, 16, 100)).toBeCloseTo(0.2, 12)
  expect(learningRate(schedule, 64, 100)).toBeCloseTo(0.1, 12)
  expect(learningRate({ ...schedule, warmup: 0 }, 1, 100)).toBeCloseTo(0.4, 12)
  expect(learningRate({ ...schedule, warmup: 0 }, 4, 100)).toBeCloseTo(0.2, 12)
})

test('constant stays at the peak', () => {
  expect(learningRate({ ...base, kind: 'constant' }, 11, 12)).toBe(0.4)
})

test('a run no longer than its warm-up stays in the linear rise', () => {
  expect(learningRate({ ...base, kind: 'cosine' }, 2, 2)).toBeCloseTo(0.2, 12)
  expect(learningRate({ ...base, kind: 'cosine' }, 4, 4)).toBeCloseTo(0.4, 12)
})

const balanceOf = (finalBalance: number, coefficient = 0.4, steps = 5) =>
  balanceSchedule(
    runSchema.parse({
      model: { moe: { balance: { coefficient } } },
      train: { steps, schedule: { finalBalance } },
    }),
  )

test('the balancing coefficient begins as configured and reaches its share linearly at the last step', () => {
  const values = (final: number) => [1, 2, 3, 4, 5, 9].map((step) => balanceOf(final)?.(step) as number)
  const expectNear = (found: readonly number[], expected: readonly number[]) =>
    expected.forEach((value, i) => {
      expect(found[i]).toBeCloseTo(value, 12)
    })
  expectNear(values(0), [0.4, 0.3, 0.2, 0.1, 0, 0])
  expectNear(values(3), [0.4, 0.6, 0.8, 1, 1.2, 1.2])
  expect(values(0)[4]).toBe(0)
  expect(balanceOf(0, 0.4, 1)?.(1)).toBe(0)
})

test('a coefficient that does not change has no schedule, nor has a model without the loss', () => {
  expect(balanceOf(1)).toBeUndefined()
  expect(balanceOf(0, 0)).toBeUndefined()
  const dense = runSchema.parse({ model: { moe: null }, train: { schedule: { finalBalance: 0 } } })
  expect(balanceSchedule(dense)).toBeUndefined()
})

const wsd = { ...base, kind: 'wsd' as const }

test('wsd stays at the peak and then falls as 1 − √progress to the final share, as worked by hand', () => {
  const rate = (step: number) => learningRate(wsd, step, 40)
  // The last fifth of 40 steps is after step 32; two of these eight steps are a quarter, whose root is a half.
  expect(decayStart({ schedule: wsd, steps: 40 })).toBe(32)
  expect([5, 20, 32].map(rate)).toEqual([0.4, 0.4, 0.4])
  expect(rate(34)).toBeCloseTo(0.4 * (0.1 + 0.9 * 0.5), 12)
  expect(rate(36)).toBeCloseTo(0.4 * (0.1 + 0.9 * (1 - Math.SQRT1_2)), 12)
  expect(rate(40)).toBeCloseTo(0.04, 12)
  expect(rate(50)).toBeCloseTo(0.04, 12)
})

test('until its decay begins, a wsd run has the rates of every longer run, bit for bit, and then lower rates', () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  const steps = fc.integer({ min: 1, max: 300 })
  fc.assert(
    fc.property(share, fc.integer({ min: 0, max: 50 }), steps, steps, (decay, warmup, one, other) => {
      const schedule = { ...wsd, decay, warmup }
      const [short, long] = [Math.min(one, other), Math.max(one, other)]
      const start = decayStart({ schedule, steps: short }) ?? short
      for (let step = 1; step <= short; step++) {
        const [rate, longer] = [learningRate(schedule, step, short), learningRate(schedule, step, long)]
        if (step <= start) expect(rate).toBe(longer)
        else expect(rate).toBeLessThan(0.4)
      }
    }),
  )
})

test('the decay never begins within the warm-up, and a share of 0 has no decay', () => {
  expect(decayStart({ schedule: { ...wsd, decay: 1 }, steps: 40 })).toBe(4)
  expect(decayStart({ schedule: { ...wsd, warmup: 50 }, steps: 40 })).toBeNull()
  expect(decayStart({ schedule: { ...wsd, decay: 0 }, steps: 40 })).toBeNull()
  expect(learningRate({ ...wsd, decay: 0 }, 40, 40)).toBe(0.4)
  expect(decayStart({ schedule: { ...wsd, kind: 'cosine' }, steps: 40 })).toBeNull()
})
