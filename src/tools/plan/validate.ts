/**
 * Compares predictions with published measurements. The error that matters to users is the error for a new system, so
 * each system is also predicted with constants to which none of its rows was fitted.
 */
import { median } from '../../core/averages.ts'
import { intervalFactor, type Residual } from './fit/intervals.ts'
import { PublishedRun } from './fit/published-run.ts'
import { withConstants } from './fit/with-constants.ts'
import { type Constants, constantNames, efficiencyFamilyOf } from './inputs/constants.ts'
import * as committed from './inputs/fitted.ts'
import type { IntervalFactors } from './inputs/intervals.ts'
import { type PublishedRow, publishedRows } from './published/measurements.ts'

export interface Validated {
  readonly row: PublishedRow
  readonly metric: 'step time' | 'memory'
  /** Seconds of a step, or bytes on a device. */
  readonly published: number
  /** Prediction with the constants of `choir plan`, which are fitted to all step times. */
  readonly predicted: number
  /** (predicted − published) / published. */
  readonly error: number
  /** Prediction with constants fitted to other systems only. It is `predicted` for memory, to which none is fitted. */
  readonly predictedLeftOut: number
  readonly errorLeftOut: number
  /** Factor of the interval around `predictedLeftOut`, from the errors of other systems. */
  readonly factor: number
  /** Whether the interval holds the published value. */
  readonly held: boolean
}

export interface Accuracy {
  readonly metric: Validated['metric']
  readonly system: string
  readonly rows: number
  /** Median absolute error with constants fitted to other systems only. */
  readonly leftOut: number
  /** Median absolute error with constants fitted to all rows. */
  readonly fitted: number
  /** Mean of log(predicted / published), with the system left out: negative if predictions are too fast. */
  readonly bias: number
  /** Share of the rows within their 80 % interval. */
  readonly held: number
}

export interface Validation {
  readonly rows: readonly Validated[]
  /** Accuracy of each metric, by system and for all systems together (`all`). */
  readonly accuracy: readonly Accuracy[]
  /** Factors of the intervals that `choir plan` prints. */
  readonly factors: IntervalFactors
}

/** Constants as `bench/fit-planner.ts` fits them: values in the order of `constantNames`. */
export interface Fits {
  readonly fitted: Constants
  readonly withoutSystem: Readonly<Record<string, readonly number[]>>
  readonly withoutFamily: Readonly<Record<string, readonly number[]>>
}

export function validate(fits: Fits = committed): Validation {
  const predicted = publishedRows.map((row) => predictRow(new PublishedRun(row), fits))
  const rows = predicted.map((each): Validated => {
    const others = predicted.filter(({ metric, row }) => metric === each.metric && row.system !== each.row.system)
    const factor = intervalFactor(others.map(residualOf))
    return { ...each, factor, held: Math.abs(residualOf(each).error) <= Math.log(factor) }
  })
  const accuracy = (['step time', 'memory'] as const).flatMap((metric) => {
    const own = rows.filter((each) => each.metric === metric && !each.row.derived)
    const systems = [...new Set(own.map(({ row }) => row.system))]
    return [
      ...systems.map((system) =>
        accuracyOf(
          metric,
          system,
          own.filter(({ row }) => row.system === system),
        ),
      ),
      accuracyOf(metric, 'all', own),
    ]
  })
  return { rows, accuracy, factors: factorsOf(predicted, fits) }
}

type Predicted = Omit<Validated, 'factor' | 'held'>

function predictRow(run: PublishedRun, { fitted, withoutSystem }: Fits): Predicted {
  const { row, metric, published, cluster } = run
  const family = efficiencyFamilyOf(row.device)
  const leftOut = withoutSystem[row.system]
  const predicted = run.predict(withConstants(cluster, family, fitted))
  const predictedLeftOut = leftOut ? run.predict(withConstants(cluster, family, constantsOf(leftOut))) : predicted
  return {
    row,
    metric,
    published,
    predicted,
    error: predicted / published - 1,
    predictedLeftOut,
    errorLeftOut: predictedLeftOut / published - 1,
  }
}

const constantsOf = (values: readonly number[]): Constants =>
  Object.fromEntries(constantNames.map((name, i) => [name, values[i] ?? Number.NaN])) as Constants

const residualOf = ({ row, published, predictedLeftOut }: Predicted): Residual => ({
  system: row.system,
  error: Math.log(predictedLeftOut / published),
})

function accuracyOf(metric: Validated['metric'], system: string, rows: readonly Validated[]): Accuracy {
  return {
    metric,
    system,
    rows: rows.length,
    leftOut: median(rows.map(({ errorLeftOut }) => Math.abs(errorLeftOut))),
    fitted: median(rows.map(({ error }) => Math.abs(error))),
    bias: rows.reduce((sum, row) => sum + residualOf(row).error, 0) / rows.length,
    held: rows.filter(({ held }) => held).length / rows.length,
  }
}

/** The interval factors that `bench/fit-planner.ts` writes down. */
function factorsOf(predicted: readonly Predicted[], { fitted, withoutFamily }: Fits): IntervalFactors {
  const times = predicted.filter(({ metric }) => metric === 'step time')
  const unfitted = times.map(({ row, published }): Residual => {
    const run = new PublishedRun(row)
    const values = withoutFamily[efficiencyFamilyOf(row.device)]
    const constants = values ? constantsOf(values) : fitted
    return {
      system: row.system,
      error: Math.log(run.predict(withConstants(run.cluster, 'any', constants)) / published),
    }
  })
  const memory = predicted.filter(({ metric, row }) => metric === 'memory' && !row.derived)
  return {
    stepTime: intervalFactor(times.map(residualOf)),
    stepTimeUnfitted: intervalFactor(unfitted),
    memory: intervalFactor(memory.map(residualOf)),
  }
}
