/** The seconds of runs, by hand: every evaluation, checkpoint and load counts once. */
import { expect, test } from 'vitest'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { cellOf, chainOf, rungCell, trialOf } from '../grid/cells.ts'
import type { Pace } from './pace.ts'
import { makespan } from './time-left.ts'
import { type Extras, Paces, secondsOf, shapeOf } from './work.ts'

const pace: Pace = {
  step: 2,
  evaluatedToken: 0.01,
  evaluation: 0,
  start: 5,
  load: 3,
  save: 1,
  trainTokens: 10_000,
  heldOutTokens: 1000,
}
const plain: Extras = { elsewhere: 0, specialised: new Set() }

/** A batch has 2 · 50 tokens; 20 steps are evaluated after steps 8, 16 and 20, and saved after 5, 10, 15 and 20. */
const configOf = (...sets: string[]): Promise<RunConfig> =>
  loadConfig('tiny', [
    'model.moe=null',
    'train.batch=2',
    'model.sequence=50',
    'train.steps=20',
    'train.evalEvery=8',
    ...sets,
  ])

test('a run is its steps, its evaluations, its start, its checkpoints, and the load for the last evaluation', async () => {
  const cell = cellOf('a', 1, 'common', await configOf('train.evalBatches=3'))
  expect(secondsOf(cell, pace, plain)).toEqual({
    training: 20 * 2,
    evaluation: (3 * 300 + 1000) * 0.01,
    starting: 5 + 4 * 1 + 3,
  })
})

test('evaluations without a cap read all held-out text, as those with a cap above it, and the last is made once', async () => {
  const evaluated = async (batches: number) =>
    secondsOf(cellOf('a', 1, 'common', await configOf(`train.evalBatches=${batches}`)), pace, plain).evaluation
  expect(await evaluated(11)).toBeCloseTo(4 * 1000 * 0.01)
  expect(await evaluated(0)).toBeCloseTo(3 * 1000 * 0.01)
})

test('the rest of a run has no start, and only what comes after its step', async () => {
  const cell = cellOf('a', 1, 'common', await configOf('train.evalBatches=3'))
  expect(secondsOf(cell, pace, plain, 16)).toEqual({
    training: 4 * 2,
    evaluation: (300 + 1000) * 0.01,
    starting: 1 + 3,
  })
  expect(secondsOf(cell, pace, plain, 20)).toEqual({ training: 0, evaluation: 1000 * 0.01, starting: 3 })
})

test('other texts and specialisation add their tokens and a load each, but not to a trial', async () => {
  const config = await configOf('train.evalBatches=3')
  const cell = cellOf('a', 1, 'common', config)
  const extras = { elsewhere: 2, specialised: new Set([cell.key]) }
  const [some, more] = [secondsOf(cell, pace, plain), secondsOf(cell, pace, extras)]
  expect(more.evaluation - some.evaluation).toBeCloseTo((2 * 50_000 + 11_000) * 0.01)
  expect(more.starting - some.starting).toBeCloseTo(3 * 3)
  // A trial of 10 steps is evaluated once, at its end, and again on all held-out text.
  const trial = trialOf('a', 1, config, 10)
  expect(secondsOf(trial, pace, extras)).toMatchObject({ training: 20, evaluation: (300 + 1000) * 0.01 })
})

test('a rung of a search ends without an evaluation of its own, and goes on where the rung before it ended', async () => {
  const config = await configOf('train.evalBatches=3')
  expect(secondsOf(rungCell('a', 1, config, 8, 0), pace, plain)).toMatchObject({ training: 16, evaluation: 10 })
  expect(secondsOf(rungCell('a', 1, config, 20, 8), pace, plain)).toMatchObject({ training: 24, evaluation: 16 })
})

test('the branches of a run train each step of the trunk once', async () => {
  const sets = ['train.evalBatches=3', 'train.schedule.kind=wsd', 'train.schedule.warmup=1', 'train.schedule.decay=0.2']
  const [half, whole] = chainOf('a', 1, 'common', await configOf(...sets), [0.5, 1])
  if (!half || !whole) throw new Error('expected two branches')
  // The half decays after step 8 of 10, where the whole run goes on.
  expect(secondsOf(half, pace, plain).training).toBe(10 * 2)
  expect(secondsOf(whole, pace, plain).training).toBe(12 * 2)
})

test('without an evaluation so far, a held-out token takes a third of a trained token under each separate rule', async () => {
  const unknown = { ...pace, evaluatedToken: null, load: null, save: null }
  const dense = cellOf('a', 1, 'common', await configOf('train.evalBatches=3'))
  expect(secondsOf(dense, unknown, plain).evaluation).toBeCloseTo((1900 * 2) / 100 / 3)
  const experts = await loadConfig('tiny', [
    'train.batch=2',
    'model.sequence=50',
    'train.steps=20',
    'train.evalEvery=8',
    'train.evalBatches=3',
  ])
  expect(secondsOf(cellOf('a', 1, 'common', experts), unknown, plain).evaluation).toBeCloseTo((1900 * 2) / 100)
})

test('seeds, learning rates and lengths share a pace; models and batches do not', async () => {
  const config = await configOf()
  const shape = shapeOf(cellOf('a', 1, 'common', config).config)
  const same = await configOf('train.schedule.learningRate=0.1', 'train.steps=40', 'train.evalEvery=5')
  expect(shapeOf(cellOf('b', 2, 'common', same).config)).toBe(shape)
  for (const set of ['model.width=64', 'train.batch=4', 'train.microBatches=2'])
    expect(shapeOf(cellOf('a', 1, 'common', await configOf(set)).config), set).not.toBe(shape)
})

test('a shape that was not measured is scaled by its FLOPs from the nearest one', async () => {
  const [small, middle, large] = await Promise.all(
    [32, 64, 512].map((width) => configOf(`model.width=${width}`, `model.hidden=${width}`)),
  )
  const paces = new Paces()
  expect(paces.of(small as RunConfig)).toBeNull()
  paces.set(small as RunConfig, pace)
  paces.set(large as RunConfig, { ...pace, step: 50 })
  const flops = (config: RunConfig | undefined) => describeModel((config as RunConfig).model).flopsPerToken
  expect(paces.of(middle as RunConfig)?.step).toBeCloseTo((2 * flops(middle)) / flops(small))
  expect(paces.of(large as RunConfig)?.step).toBe(50)
})

test('free workers take the next run, and the runs of a group are done one after the other', () => {
  const tasks = (...list: [string, number][]) => list.map(([group, seconds]) => ({ group, seconds }))
  expect(makespan([], 2)).toBe(0)
  expect(makespan(tasks(['a', 3], ['b', 3], ['c', 3]), 2)).toBe(6)
  expect(makespan(tasks(['a', 5], ['b', 1], ['c', 2], ['d', 3]), 2)).toBe(6)
  expect(makespan(tasks(['a', 3], ['a', 3], ['b', 1]), 8)).toBe(6)
})
