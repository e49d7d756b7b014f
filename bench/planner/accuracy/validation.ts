/**
 * Compares predictions with published measurements. The error that matters to users is the error for a new system, so
 * each system is also predicted with constants to which none of its rows was fitted. Errors and intervals are counted for
 * each class of programs.
 */
import { readFileSync } from 'node:fs'
import { median } from '../../../src/core/averages.ts'
import {
  type Constants,
  constantNames,
  efficiencyFamilyOf,
  type Program,
  programs,
} from '../../../src/tools/plan/inputs/constants.ts'
import { fitted } from '../../../src/tools/plan/inputs/fitted.ts'
import type { IntervalFactors, IntervalsByProgram } from '../../../src/tools/plan/inputs/intervals.ts'
import { intervalFactor, type Residual } from './intervals.ts'
import { type PublishedRow, programOf, publishedRows } from './published.ts'
import { PublishedRun, withConstants } from './published-run.ts'

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
  readonly program: Program
  /** A system, or `all` for all systems of the class. */
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

/** Predictions of whether published runs fit, with a probability of at least 50 %. */
export interface FitCheck {
  readonly program: Program
  /** Runs that were measured, and those of them that are predicted to fit. */
  readonly ran: number
  readonly predictedToFit: number
  /** Runs that ended for lack of memory, and those of them that are predicted to fit. */
  readonly outOfMemory: number
  readonly predictedToFitWrongly: number
}

export interface Validation {
  readonly rows: readonly Validated[]
  /** Accuracy of each metric and class of programs, by system and for all systems of the class (`all`). */
  readonly accuracy: readonly Accuracy[]
  readonly fits: readonly FitCheck[]
  /** Factors of the intervals that `choir plan` prints. */
  readonly factors: IntervalsByProgram
}

/** Constants as `bench/planner/fit-planner.ts` fits them: values in the order of `constantNames`. */
interface LeftOut {
  /** Fitted to all rows but those of a system. */
  readonly withoutSystem: Readonly<Record<string, readonly number[]>>
  /** Fitted to all rows but those of a family of devices. */
  readonly withoutFamily: Readonly<Record<string, readonly number[]>>
}

type Fits = LeftOut & { readonly fitted: Constants }

export const leftOutFile = new URL('../published/left-out.json', import.meta.url)

/** The constants of `choir plan`, and those of the last fits without a system or a family. */
export const committedFits = (): Fits => ({ fitted, ...(JSON.parse(readFileSync(leftOutFile, 'utf8')) as LeftOut) })

export function validate(fits = committedFits()): Validation {
  const runs = publishedRows.map((row) => new PublishedRun(row))
  const predicted = runs.flatMap((run) => predictRow(run, fits) ?? [])
  const rows = predicted.map((each): Validated => {
    const others = predicted.filter(({ metric, row }) => metric === each.metric && row.system !== each.row.system)
    const factor = factorFor(programOf(each.row), others, residualOf)
    return { ...each, factor, held: Math.abs(residualOf(each).error) <= Math.log(factor) }
  })
  const accuracy = (['step time', 'memory'] as const).flatMap((metric) =>
    programs.flatMap((program) => {
      const own = rows.filter((each) => each.metric === metric && programOf(each.row) === program && !each.row.derived)
      const systems = [...new Set(own.map(({ row }) => row.system))]
      return [
        ...systems.map((system) =>
          accuracyOf(
            { metric, program, system },
            own.filter(({ row }) => row.system === system),
          ),
        ),
        accuracyOf({ metric, program, system: 'all' }, own),
      ]
    }),
  )
  const factors = Object.fromEntries(
    programs.map((program) => [program, factorsOf(program, predicted, fits)]),
  ) as Record<Program, IntervalFactors>
  return { rows, accuracy, fits: programs.map((program) => fitCheck(program, runs)), factors }
}

function fitCheck(program: Program, runs: readonly PublishedRun[]): FitCheck {
  const own = runs.filter(({ row }) => programOf(row) === program)
  const [ran, failed] = [false, true].map((isFailed) =>
    own.filter(({ metric }) => (metric === 'out of memory') === isFailed),
  ) as [PublishedRun[], PublishedRun[]]
  const fitting = (some: readonly PublishedRun[]) =>
    some.filter((run) => run.neededBytes() <= run.cluster.device.memory).length
  return {
    program,
    ran: ran.length,
    predictedToFit: fitting(ran),
    outOfMemory: failed.length,
    predictedToFitWrongly: fitting(failed),
  }
}

type Predicted = Omit<Validated, 'factor' | 'held'>

function predictRow(run: PublishedRun, { fitted, withoutSystem }: Fits): Predicted | undefined {
  const { row, metric, published, cluster } = run
  if (metric === 'out of memory') return undefined
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

function accuracyOf(of: Pick<Accuracy, 'metric' | 'program' | 'system'>, rows: readonly Validated[]): Accuracy {
  return {
    ...of,
    rows: rows.length,
    leftOut: median(rows.map(({ errorLeftOut }) => Math.abs(errorLeftOut))),
    fitted: median(rows.map(({ error }) => Math.abs(error))),
    bias: rows.reduce((sum, row) => sum + residualOf(row).error, 0) / rows.length,
    held: rows.filter(({ held }) => held).length / rows.length,
  }
}

/** Number of systems from which on 80 % of one system more is a quantile of their errors: 0.8 · (m + 1) / m ≤ 1. */
const ENOUGH_SYSTEMS = 4

/**
 * The interval factor of a class. If few systems of the class were measured, it is at least the factor of all classes
 * together.
 */
function factorFor(program: Program, rows: readonly Predicted[], residual: (row: Predicted) => Residual): number {
  const own = rows.filter(({ row }) => programOf(row) === program)
  const factor = intervalFactor(own.map(residual))
  const isEnough = new Set(own.map(({ row }) => row.system)).size >= ENOUGH_SYSTEMS
  return isEnough ? factor : Math.max(factor, intervalFactor(rows.map(residual)))
}

/** The interval factors of a class, which `bench/planner/fit-planner.ts` writes down. */
function factorsOf(
  program: Program,
  predicted: readonly Predicted[],
  { fitted, withoutFamily }: Fits,
): IntervalFactors {
  const times = predicted.filter(({ metric }) => metric === 'step time')
  const unfitted = ({ row, published }: Predicted): Residual => {
    const run = new PublishedRun(row)
    const values = withoutFamily[efficiencyFamilyOf(row.device)]
    const constants = values ? constantsOf(values) : fitted
    return {
      system: row.system,
      error: Math.log(run.predict(withConstants(run.cluster, 'any', constants)) / published),
    }
  }
  const memory = predicted.filter(({ metric, row }) => metric === 'memory' && !row.derived)
  return {
    stepTime: factorFor(program, times, residualOf),
    stepTimeUnfitted: factorFor(program, times, unfitted),
    memory: factorFor(program, memory, residualOf),
  }
}
