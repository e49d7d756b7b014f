/** A probe, the real first steps of a training. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { expand } from '../grid/grid.ts'
import { FakeStudy } from '../testing/fake-study.ts'
import { costsOf, probe } from './probe.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

test('messages have the notices of a training, but not of its warm-up, which arms with the same probe may not have', async () => {
  const set = { 'train.steps': 8, 'train.schedule.warmup': 7, 'train.freeze': ['embedding'] }
  const { cells } = await expand(fake.specification({ arms: { long: {} }, seeds: [1], set }))
  const config = cells[0]?.config
  expect(config?.train.schedule.warmup).toBe(7)
  const found = config && (await probe(config, new AbortController().signal))
  expect(found?.messages).toEqual([expect.stringContaining('train.freeze: embedding')])
})

test('loading is not counted in the time of a token: 2 s to load, 1 s to compile, 1 ms a token', () => {
  const { load, token } = costsOf(
    { tokens: 100, seconds: 2 + 1 + 0.1 },
    { tokens: 100, seconds: 2 + 0.1 },
    { tokens: 6400, seconds: 2 + 6.4 },
  )
  expect(load).toBeCloseTo(3, 12)
  expect(token).toBeCloseTo(0.001, 12)
  // A held-out text of one pass.
  const all = { tokens: 50, seconds: 2 }
  expect(costsOf(all, all, all)).toEqual({ load: 0, token: 0.04 })
})
