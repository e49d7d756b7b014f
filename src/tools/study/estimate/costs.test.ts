/** A budget chooses seeds, never steps. */
import { expect, test } from 'vitest'
import { chooseSeeds } from './costs.ts'

/** Each seed takes 100 s, of which 80 s are training, and step timing takes 20 s once. */
const costOf = async (seeds: number) => ({
  known: { training: 80 * seeds, evaluation: 15 * seeds, starting: 5 * seeds, timing: 20, total: 100 * seeds + 20 },
  possible: 0,
})

test.each([
  [520, 5],
  [519, 4],
  [10_000, 5],
  [220, 2],
])('a budget of %i s has room for %i of 5 seeds', async (seconds, seeds) => {
  const needed = 100 * seeds + 20
  expect(await chooseSeeds(seconds, 5, costOf)).toEqual({ seconds, seeds, of: 5, needed, stepsShare: null })
})

test('if two seeds do not fit, the choice has the time that they need, and the share of steps that would fit', async () => {
  const choice = await chooseSeeds(140, 5, costOf)
  expect(choice).toMatchObject({ seeds: null, needed: 220 })
  // With half of the steps two seeds take 80 s of training, and 60 s of everything else.
  expect(choice.stepsShare).toBeCloseTo(0.5)
})

test('no share of the steps fits if everything else takes longer than the budget', async () => {
  expect(await chooseSeeds(59, 5, costOf)).toMatchObject({ seeds: null, stepsShare: null })
})

test('a study of one seed is not extended, and the runs that sweeps may add count', async () => {
  expect(await chooseSeeds(120, 1, costOf)).toMatchObject({ seeds: 1 })
  const withSweeps = async (seeds: number) => ({ ...(await costOf(seeds)), possible: 30 })
  expect(await chooseSeeds(320, 5, withSweeps)).toMatchObject({ seeds: 2, needed: 250 })
})
