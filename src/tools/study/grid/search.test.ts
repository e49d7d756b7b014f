/** Searches: their draws and rungs, and which searches are refused. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { type Search, searchSchema } from '../specification.ts'
import { expand } from './grid.ts'
import { forSearch, readSpecification, withAssignments } from './read-specification.ts'
import { drawSettings, rungsOf } from './search.ts'

const temporary = temporaryFolder()
const rate = 'train.schedule.learningRate'
const searchOf = (input: object): Search => searchSchema.parse({ configurations: 9, minSteps: 10, ...input })

describe('draws', () => {
  test('lie in their ranges, spread over the scale, and include both ends of whole numbers', () => {
    const settings = {
      [rate]: { min: 0.001, max: 0.1, scale: 'log' },
      'train.schedule.warmup': { min: 1, max: 4, integer: true },
      'train.schedule.final': { min: 0.25, max: 0.75 },
      'model.moe.k': { choices: [1, 2] },
    }
    const drawn = drawSettings(searchOf({ settings, configurations: 400 }))
    const values = (path: string) => drawn.map((one) => one[path] as number)
    expect(Math.min(...values(rate))).toBeGreaterThanOrEqual(0.001)
    expect(Math.max(...values(rate))).toBeLessThanOrEqual(0.1)
    // Half of the draws of a logarithmic range are below its geometric middle. Standard deviation of the count: 10.
    const low = values(rate).filter((value) => value < 0.01).length
    expect(low).toBeGreaterThan(150)
    expect(low).toBeLessThan(250)
    expect(values(rate).every((value) => value === Number(value.toPrecision(4)))).toBe(true)
    // Each number has a quarter of the draws. Standard deviation of the count: 8.7.
    for (const whole of [1, 2, 3, 4]) {
      const count = values('train.schedule.warmup').filter((value) => value === whole).length
      expect(count).toBeGreaterThan(60)
      expect(count).toBeLessThan(140)
    }
    const mean = values('train.schedule.final').reduce((sum, value) => sum + value, 0) / 400
    expect(mean).toBeCloseTo(0.5, 1)
    expect(new Set(values('model.moe.k'))).toEqual(new Set([1, 2]))
  })

  test('are the same for a seed, do not depend on other settings, and stay the same when more are drawn', () => {
    const one = { [rate]: { min: 0.001, max: 0.1 } }
    const two = { 'model.moe.k': { choices: [1, 2] }, ...one }
    const rates = (input: object) => drawSettings(searchOf(input)).map((drawn) => drawn[rate])
    expect(rates({ settings: one })).toEqual(rates({ settings: one }))
    expect(rates({ settings: two })).toEqual(rates({ settings: one }))
    expect(rates({ settings: one, configurations: 20 }).slice(0, 9)).toEqual(rates({ settings: one }))
    expect(rates({ settings: one, seed: 1 })).not.toEqual(rates({ settings: one }))
  })

  test('are different from each other, and ranges with too few values are refused', () => {
    const settings = { 'model.moe.k': { choices: [1, 2] }, 'train.schedule.warmup': { min: 1, max: 3, integer: true } }
    const all = drawSettings(searchOf({ settings, configurations: 6 }))
    expect(new Set(all.map((drawn) => JSON.stringify(drawn))).size).toBe(6)
    expect(() => drawSettings(searchOf({ settings, configurations: 7 }))).toThrow(
      'invalid search.configurations: 7 (the ranges and choices allow about 6 different ones)',
    )
  })
})

test.each([
  // Li et al. 2018, table 1, bracket s = 4: eta 3, R = 81.
  [
    { configurations: 81, eta: 3, minSteps: 1 },
    81,
    [
      [1, 81],
      [3, 27],
      [9, 9],
      [27, 3],
      [81, 1],
    ],
  ],
  [
    { configurations: 10, eta: 2, minSteps: 30 },
    100,
    [
      [50, 10],
      [100, 5],
    ],
  ],
  [{ configurations: 5, eta: 3, minSteps: 60 }, 60, [[60, 5]]],
  // 5/4 and 5/8 of a step are both one step.
  [
    { configurations: 8, eta: 2, minSteps: 1 },
    5,
    [
      [1, 8],
      [3, 4],
      [5, 2],
    ],
  ],
])('rungs of %j to step %i are %j', (input, maxSteps, rungs) => {
  const search = searchOf({ settings: { [rate]: { min: 1, max: 2 } }, ...input })
  expect(rungsOf(search, maxSteps).map(({ steps, configurations }) => [steps, configurations])).toEqual(rungs)
})

describe('a search in a file', () => {
  const settings = { [rate]: { min: 0.001, max: 0.1, scale: 'log' } }
  const file = async (search: object, more: object = {}) => {
    const path = join(temporary.make(), 'search.yaml')
    await writeFile(
      path,
      stringify({ base: 'tiny', search: { settings, configurations: 3, minSteps: 5, ...search }, ...more }),
    )
    return readSpecification(path)
  }
  const plan = async (search: object, more: object = {}, sets: readonly string[] = []) =>
    (await expand(withAssignments(forSearch(await file(search, more)), sets))).search

  test('has a complete configuration for each draw, all with the schedule of a whole training', async () => {
    const found = await plan({ maxSteps: 45 }, { seeds: [7, 8], arms: { other: {} } })
    expect(found?.candidates.map(({ config }) => config.train.steps)).toEqual([45, 45, 45])
    expect(found?.candidates.map(({ config }) => config.train.schedule.learningRate)).toEqual(
      found?.candidates.map(({ settings: own }) => own[rate]),
    )
    expect(found?.rungs.map(({ steps }) => steps)).toEqual([5, 15, 45])
    expect(found?.seed).toBe(7)
    // The base trains 20 steps.
    expect((await plan({}))?.rungs.map(({ steps }) => steps)).toEqual([7, 20])
  })

  test('compares without a capacity limit if one of the routers balances loads in training only', async () => {
    const ruleWith = async (...choices: string[]) => {
      const routers = { settings: { ...settings, 'model.moe.router': { choices } }, configurations: 8 }
      return (await expand(forSearch(await file(routers, { set: { 'model.moe.capacity': 'kx' } })))).capacity
    }
    expect(await ruleWith('top-k', 'bias')).toBe('train')
    expect(await ruleWith('top-k', 'sinkhorn')).toBe('none')
  })

  test.each<[string, object, RegExp]>([
    [
      'min above max',
      { settings: { [rate]: { min: 2, max: 1 } } },
      /search\.settings\.train.*min 2 must be less than max 1/,
    ],
    [
      'a logarithm of 0',
      { settings: { [rate]: { min: 0, max: 1, scale: 'log' } } },
      /min 0 must be above 0 with scale: log/,
    ],
    ['eta below 2', { eta: 1 }, /invalid search\.eta: 1 \(expected a whole number from 2\)/],
    [
      'fractions of whole numbers',
      { settings: { [rate]: { min: 0.5, max: 2, integer: true } } },
      /must be whole numbers/,
    ],
    ['neither range nor choices', { settings: { [rate]: { min: 1 } } }, /expected min and max, or choices/],
    ['choices and a range', { settings: { [rate]: { min: 1, choices: [1, 2] } } }, /has choices and a range/],
    ['repeated choices', { settings: { [rate]: { choices: [1, 1] } } }, /choices repeat a value/],
    ['no setting', { settings: {} }, /expected at least one setting/],
    [
      'an unknown field of a range',
      { settings: { [rate]: { min: 1, max: 2, step: 1 } } },
      /unknown field search\..*step: 1 \(accepted in search\.settings\..*: min, max, scale, integer, choices\)/,
    ],
    [
      'an unknown setting',
      { settings: { 'model.moe.q': { choices: [1, 2, 3] } } },
      /a configuration with q=\d is refused .*unknown field model\.moe\.q/,
    ],
    [
      'a seed',
      { settings: { 'train.seed': { choices: [1, 2, 3] } } },
      /invalid train\.seed in a study: it is set by seeds/,
    ],
    [
      'the batch',
      { settings: { 'train.batch': { choices: [1, 2, 4] } } },
      /train\.batch cannot be searched \(configurations would not train on the same tokens/,
    ],
    [
      'the steps',
      { settings: { 'train.steps': { min: 1, max: 9, integer: true } } },
      /train\.steps cannot be searched \(search\.minSteps/,
    ],
    [
      'a setting without an effect on results',
      { settings: { 'runtime.threads': { choices: [1, 2, 3] } } },
      /3 draws make only 1 different trainings/,
    ],
    [
      'a first rung longer than a training',
      { minSteps: 21 },
      /invalid search\.minSteps: 21 \(a whole training has 20 steps/,
    ],
  ])('with %s is refused', async (_, search, message) => {
    await expect(plan(search)).rejects.toThrow(message)
  })

  test('with a searched setting that is also set for all, or with two numbers of steps, is refused', async () => {
    await expect(plan({}, {}, [`${rate}=1`])).rejects.toThrow(
      `invalid ${rate} for all configurations: ${rate} is searched`,
    )
    await expect(plan({ maxSteps: 45 }, {}, ['train.steps=20'])).rejects.toThrow(
      'invalid search.maxSteps: 45 (train.steps is set to 20; leave out one of them, or make them equal)',
    )
  })

  test('is required: the message about a file without a search has an example of one', async () => {
    const path = join(temporary.make(), 'study.yaml')
    await writeFile(path, stringify({ base: 'tiny', arms: { a: {} } }))
    const arms = await readSpecification(path)
    expect(() => forSearch(arms)).toThrow(/invalid search: the study has no search \(give it one, such as search: \{/)
  })
})
