/** A study as one call: it does the runs that are missing, then writes the report, even if the study was stopped. */
import type { StudyReport } from '../analysis/analyse.ts'
import { type PredictionOutcome, predictionOutcomes } from '../analysis/predictions.ts'
import type { StudyResults } from '../contract.ts'
import { resultsOf, runsOf } from '../results/results.ts'
import { plannedRuns } from '../runs/overview.ts'
import { runStudy, type StudyOptions, type StudyState, studyOf } from '../runs/run-study.ts'
import type { RunJob } from '../runs/workers.ts'
import type { Specification } from '../specification.ts'
import { type ReportFiles, type WrittenReport, writeReport } from './write.ts'

export interface StudyOutcome {
  readonly interrupted: boolean
  /** Numbers of runs of the grid: finished, failed, and all. */
  readonly finished: number
  readonly failed: number
  readonly runs: number
  /** Files of the report; null if another process writes it. */
  readonly files: ReportFiles | null
  /** The strongest finding in a sentence, and all answers; null if another process writes the report. */
  readonly answers: Pick<StudyReport, 'headline' | 'findings'> | null
  /** Predictions with what was found; empty also if another process writes the report. */
  readonly predictions: readonly PredictionOutcome[]
  /** Names of the other processes that go on with the study, or write its report. */
  readonly others: readonly string[]
}

/** @throws what {@link runStudy} throws */
export async function study(specification: Specification, options: StudyOptions, run?: RunJob): Promise<StudyOutcome> {
  let written: Written | null = null
  const state = await runStudy(specification, options, run, async ({ grid, ledger }) => {
    const results = resultsOf(specification, options, grid, ledger)
    written = { ...(await writeReport(results, specification, options, options.paper)), results }
  })
  return outcomeOf(state, written)
}

/** Writes the report of existing results, without a run. @throws UsageError when there are none yet */
export async function writeStudyReport(specification: Specification, options: StudyOptions): Promise<StudyOutcome> {
  const state = await studyOf(specification, options)
  const results = resultsOf(specification, options, state.grid, state.ledger)
  return outcomeOf(state, { ...(await writeReport(results, specification, options, options.paper)), results })
}

/** The report that this process has written, and its results. */
interface Written extends WrittenReport {
  readonly results: StudyResults
}

function outcomeOf({ grid, ledger, interrupted, others }: StudyState, written: Written | null): StudyOutcome {
  const records = [...new Map(runsOf(grid, ledger).map(({ key, config }) => [key, ledger.find(key, config)])).values()]
  const count = (status: string) => records.filter((record) => record?.status === status).length
  const runs = grid.search ? plannedRuns(grid.search) : records.length
  return {
    interrupted,
    finished: count('finished'),
    failed: count('failed'),
    runs,
    files: written?.files ?? null,
    answers: written?.report ?? null,
    predictions: written ? predictionOutcomes(written.results) : [],
    others,
  }
}
