/**
 * Coverage of predictions on a real study: the law of the shorter trainings of docs/results/map predicts the longer ones.
 * Measurements and their comparison with the intervals are repeated here from the stored records, in plain loops.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { beforeAll, expect, test } from 'vitest'
import { lawText, parseLaw } from '../../../law/law-file.ts'
import type { FinishedRun, RunRecord, StudyResults } from '../../contract.ts'
import { expand, type Grid } from '../../grid/grid.ts'
import { readSpecification } from '../../grid/read-specification.ts'
import { Ledger } from '../../results/ledger.ts'
import { resultsOf } from '../../results/results.ts'
import { Runs } from '../runs.ts'
import { type MapPair, pairsOf } from './pairs.ts'
import { coverageOf, type Predictions, predictionsOf, sharesOf } from './predictions.ts'
import { lawFileOf } from './study-law.ts'

const directory = fileURLToPath(new URL('../../../../../docs/results/map', import.meta.url))
/** Tokens up to which trainings are fitted; longer trainings are predicted. */
const FITTED = 3e6

let grid: Grid
let results: StudyResults
let heldOut: MapPair[]
let predictions: Predictions
beforeAll(async () => {
  const specification = await readSpecification(join(directory, 'study.yaml'))
  grid = await expand(specification)
  results = resultsOf(specification, { name: 'map', command: '' }, grid, await Ledger.open(directory))
  const isShort = (record: RunRecord | null) => record?.status === 'finished' && record.tokens <= FITTED
  const cells = results.cells.map((cell) => (isShort(cell.record) ? cell : { ...cell, record: null }))
  const law = lawFileOf({ ...results, cells })
  if (!law) throw new Error('no law')
  predictions = predictionsOf(parseLaw(lawText(law)), grid)
  const maps = results.questions.filter(({ view }) => view === 'map').flatMap(({ contrasts }) => contrasts)
  heldOut = pairsOf(new Runs(results), { contrasts: maps }).filter(({ tokens }) => tokens > FITTED)
})

/** Mean over seeds of the loss with experts minus the dense loss, from the file itself; undefined without pairs. */
function measuredIn(records: readonly FinishedRun[], width: number, experts: number, tokens: number) {
  let [sum, pairs] = [0, 0]
  for (const sparse of records) {
    const { model } = sparse.config
    if (model.width !== width || model.moe?.experts !== experts || sparse.tokens !== tokens) continue
    for (const dense of records) {
      if (dense.config.model.width !== width || dense.config.model.moe !== null) continue
      if (dense.tokens !== tokens || dense.seed !== sparse.seed) continue
      sum += sparse.heldOut.capacities.none.loss - dense.heldOut.capacities.none.loss
      pairs += 1
    }
  }
  return pairs === 0 ? undefined : sum / pairs
}

/** @param factor Multiple of the half width of each interval. The share of measurements inside differs between them. */
test.each([1, 2, 4, 0])('coverage matches a count over the stored records, with intervals × %s', (factor) => {
  const stored = JSON.parse(gunzipSync(readFileSync(join(directory, 'results.json.gz'))).toString())
  const records = (stored.records as RunRecord[]).filter((record) => record.status === 'finished')
  const widths = new Map(grid.cells.map(({ arm, config }) => [arm, config.model.width]))
  const narrowed = predictions.cells.map((cell) => ({
    ...cell,
    low: cell.difference - factor * (cell.difference - cell.low),
    high: cell.difference + factor * (cell.high - cell.difference),
  }))
  let [inside, counted, error] = [0, 0, 0]
  for (const { arm, experts, tokens, difference, low, high } of narrowed) {
    if (tokens <= FITTED) continue
    const measured = measuredIn(records, widths.get(arm) ?? 0, experts, tokens)
    if (measured === undefined) continue
    counted += 1
    error += Math.abs(measured - difference)
    if (low <= measured && measured <= high) inside += 1
  }
  const found = coverageOf({ ...predictions, cells: narrowed }, heldOut)
  expect(found.cells).toHaveLength(counted)
  expect(found.missing).toBe(narrowed.length - counted)
  const { insideShare, meanAbsoluteError } = sharesOf(found)
  expect(insideShare).toBeCloseTo(inside / counted, 12)
  expect(meanAbsoluteError).toBeCloseTo(error / counted, 12)
})

test('no measurement that is compared was fitted, and every longer training with results is compared', () => {
  const { cells } = coverageOf(predictions, heldOut)
  expect(cells.every(({ tokens }) => tokens > FITTED)).toBe(true)
  // The first size is complete: five numbers of experts, each with four seeds.
  const complete = cells.filter(({ active, pairs }) => active < 100_000 && pairs === 4)
  expect(complete.map(({ experts }) => experts)).toEqual([2, 4, 8, 16, 32])
})

test('at least four of five trainings longer than the fitted ones are inside the 80 % intervals', () => {
  const { cells } = coverageOf(predictions, heldOut)
  expect(cells.length).toBeGreaterThanOrEqual(12)
  expect(sharesOf(coverageOf(predictions, heldOut)).insideShare).toBeGreaterThanOrEqual(0.8)
})
