/** Predictions for a study that has not run, and how its results compare. */
import { expect, test } from 'vitest'
import { differenceAt } from '../../../law/joint-law.ts'
import { type LawFile, lawText, parseLaw } from '../../../law/law-file.ts'
import { knownLaw } from '../../../law/testing/simulated.ts'
import { expand } from '../../grid/grid.ts'
import { specificationSchema } from '../../specification.ts'
import { mapStudy } from '../../testing/map.ts'
import { Runs } from '../runs.ts'
import { pairsOf } from './pairs.ts'
import { coverageOf, type Predictions, predictionsOf, sharesOf } from './predictions.ts'
import { lawFileOf } from './study-law.ts'

function lawOfMap(): LawFile {
  const law = lawFileOf(mapStudy())
  if (!law) throw new Error('no law')
  return parseLaw(lawText(law))
}

/** A study with a size between the sizes of the map, and a size beyond them. */
const cells = specificationSchema.parse({
  base: 'tiny',
  seeds: [1, 2],
  set: {
    'model.vocabulary': 1024,
    'model.sequence': 64,
    'train.batch': 32,
    'train.steps': 3000,
    'model.moe.capacity': 'none',
  },
  arms: Object.fromEntries(
    [96, 256].flatMap((width) => {
      const size = { 'model.width': width, 'model.layers': 2, 'model.hidden': 4 * width }
      return [
        [`dense ${width}`, { ...size, 'model.moe': null }],
        [`8 experts ${width}`, { ...size, 'model.moe.experts': 8, 'model.moe.hidden': 4 * width }],
      ]
    }),
  ),
  questions: [
    { title: 'Map', view: 'map', contrasts: [96, 256].map((width) => [`dense ${width}`, `8 experts ${width}`]) },
  ],
})

test('a study that has not run is predicted cell by cell, and cells beyond the law are marked', async () => {
  const { cells: predicted, breakEvens } = predictionsOf(lawOfMap(), await expand(cells))
  expect(predicted.map(({ arm, outside }) => [arm, outside])).toEqual([
    ['8 experts 96', null],
    ['8 experts 256', 'size'],
  ])
  for (const cell of predicted) {
    expect(cell).toMatchObject({ experts: 8, seeds: 2, tokens: 3000 * 32 * 64 })
    expect(cell.difference).toBeCloseTo(differenceAt(knownLaw, cell), 1)
    expect(cell.low).toBeLessThan(cell.difference)
    expect(cell.high).toBeGreaterThan(cell.difference)
  }
  // Head and layers of the smaller model: 96 · 1024 + 2 · (4 + 8) · 96² and the norms.
  expect(predicted[0]?.active).toBeCloseTo(96 * 1024 + 24 * 96 ** 2, -3)
  expect(breakEvens).toHaveLength(2)
})

test('coverage counts measurements inside their intervals, and compares break-evens that were measured', () => {
  const results = mapStudy()
  const [question] = results.questions
  if (!question) throw new Error('no question')
  const pairs = pairsOf(new Runs(results), question)
  const active = Math.min(...pairs.map((pair) => pair.active))
  const own = pairs.filter((pair) => pair.active === active && pair.experts === 8)
  const tokens = Math.max(...own.map((pair) => pair.tokens))
  const measured = own.filter((pair) => pair.tokens === tokens).map(({ loss, dense }) => loss - dense)
  const mean = measured.reduce((a, b) => a + b, 0) / measured.length
  const cell = { arm: '8 experts 0', baseline: 'dense 0', active, tokens, experts: 8, seeds: 3, outside: null }
  const at = (low: number, high: number) => ({ ...cell, difference: (low + high) / 2, low, high })
  const predictions: Predictions = {
    law: { study: 'map', corpus: 'a', runs: 1 },
    cells: [at(mean - 0.01, mean + 0.01), at(mean + 0.01, mean + 0.02), { ...at(0, 1), tokens: 1 }],
    breakEvens: [{ active, experts: 8, tokens: active * 30, low: null, high: null }],
  }
  const found = coverageOf(predictions, pairs)
  expect(found.cells.map(({ inside, measured }) => [inside, measured])).toEqual([
    [true, expect.closeTo(mean, 12)],
    [false, expect.closeTo(mean, 12)],
  ])
  expect(found.missing).toBe(1)
  expect(sharesOf(found).cellsWithOtherSeeds).toBe(0)
  const [first, ...others] = predictions.cells
  if (!first) throw new Error('no cell')
  const fewer = coverageOf({ ...predictions, cells: [{ ...first, seeds: 2 }, ...others] }, pairs)
  expect(sharesOf(fewer).cellsWithOtherSeeds).toBe(1)
  // The known law crosses at about 30 tokens for each of 164k active parameters.
  expect(found.breakEvens).toHaveLength(1)
  expect(Math.abs(found.breakEvens[0]?.error ?? 9)).toBeLessThan(0.35)
})
