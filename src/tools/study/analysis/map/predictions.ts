/**
 * Predictions of a law for a study that has not run yet, to be written down before it runs, and their comparison with
 * its results. The study is a specification whose questions have the view `map`: its shapes, experts and lengths of
 * training are the cells that are predicted.
 */

import { describeModel } from '../../../../core/model/describe.ts'
import { type BreakEven, breakEven, type Forecast, forecast } from '../../../law/forecast.ts'
import type { Point } from '../../../law/joint-law.ts'
import { outside } from '../../../law/law.ts'
import type { LawFile } from '../../../law/law-file.ts'
import type { Grid } from '../../grid/grid.ts'
import { mapExperts } from '../../grid/questions.ts'
import { estimateMean } from '../../statistics.ts'
import { linesOf, measuredBreakEven } from './measured.ts'
import type { MapPair } from './pairs.ts'

interface PredictedCell extends Point, Forecast {
  readonly arm: string
  readonly baseline: string
  /** Number of seeds of the study: the mean of their differences is predicted. */
  readonly seeds: number
  /** The dimension in which the cell is beyond the runs that the law was fitted to; null if it is within them. */
  readonly outside: ReturnType<typeof outside>
}

interface PredictedBreakEven extends BreakEven {
  readonly active: number
  readonly experts: number
}

export interface Predictions {
  /** Study and text that the law was fitted to, and the number of runs. */
  readonly law: { readonly study: string; readonly corpus: string; readonly runs: number }
  readonly cells: readonly PredictedCell[]
  readonly breakEvens: readonly PredictedBreakEven[]
}

export function predictionsOf(law: LawFile, { questions, cells, seeds }: Grid): Predictions {
  const lengths = (arm: string) => {
    const own = cells.filter((cell) => cell.arm === arm).map(({ config }) => config)
    return new Map(own.map((config) => [config.train.steps * config.train.batch * config.model.sequence, config]))
  }
  const contrasts = questions.flatMap(({ view, contrasts }) => (view === 'map' ? contrasts : []))
  const predicted = contrasts.flatMap(({ baseline, arm }) => {
    const dense = lengths(baseline)
    return [...lengths(arm)].flatMap(([tokens, { model }]): PredictedCell[] => {
      const [paired, experts] = [dense.get(tokens), mapExperts(model)]
      if (!paired || paired.model.moe !== null || experts === null) return []
      const point = { active: describeModel(paired.model).computingParameters, tokens, experts }
      const found = forecast(law, point, seeds.length)
      return [{ arm, baseline, ...point, seeds: seeds.length, ...found, outside: outside(law, point) }]
    })
  })
  const arms = new Map(predicted.map(({ active, experts }) => [`${active} ${experts}`, { active, experts }]))
  return {
    law: { study: law.study, corpus: law.corpus, runs: law.runs },
    cells: predicted,
    breakEvens: [...arms.values()].map((arm) => ({ ...arm, ...breakEven(law, arm) })),
  }
}

export interface Coverage {
  /** Predicted cells with results. */
  readonly cells: readonly (PredictedCell & {
    readonly measured: number
    readonly pairs: number
    readonly inside: boolean
  })[]
  /** Break-evens that both the law and the results have; `error` is measured over predicted tokens, minus 1. */
  readonly breakEvens: readonly (PredictedBreakEven & { readonly measured: number; readonly error: number })[]
  /** Number of predicted cells without results (yet). */
  readonly missing: number
}

/** The comparison in numbers. The share and the error are NaN if no predicted cell has results. */
export const sharesOf = ({ cells, breakEvens }: Coverage) => ({
  /** Share of the cells whose measurement is inside the interval. */
  insideShare: cells.filter(({ inside }) => inside).length / cells.length,
  /** Number of cells that are measured with another number of seeds than their interval was made for. */
  cellsWithOtherSeeds: cells.filter(({ pairs, seeds }) => pairs !== seeds).length,
  /** Mean of |measured - predicted|, nats a token. */
  meanAbsoluteError:
    cells.reduce((sum, { measured, difference }) => sum + Math.abs(measured - difference), 0) / cells.length,
  breakEvensWithinQuarter: breakEvens.filter(({ error }) => Math.abs(error) <= 0.25).length,
})

export function coverageOf(predictions: Predictions, pairs: readonly MapPair[]): Coverage {
  const cells = predictions.cells.flatMap((cell) => {
    const own = pairs.filter(
      ({ contrast, tokens }) =>
        contrast.arm === cell.arm && contrast.baseline === cell.baseline && tokens === cell.tokens,
    )
    const measured = estimateMean(own.map(({ loss, dense }) => loss - dense))?.mean
    if (measured === undefined) return []
    return [{ ...cell, measured, pairs: own.length, inside: measured >= cell.low && measured <= cell.high }]
  })
  const lines = linesOf(pairs)
  const breakEvens = predictions.breakEvens.flatMap((predicted) => {
    const line = lines.find(({ active, experts }) => active === predicted.active && experts === predicted.experts)
    const measured = line ? measuredBreakEven(line) : null
    // A break-even of 0 is below the shortest training, at an unknown number of tokens.
    return measured && predicted.tokens ? [{ ...predicted, measured, error: measured / predicted.tokens - 1 }] : []
  })
  return { cells, breakEvens, missing: predictions.cells.length - cells.length }
}
