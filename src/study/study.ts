/** A study as one call: do the runs that are missing, then write the report, also if the study was stopped. */
import { RunError } from '../errors.ts'
import type { Specification } from './grid/specification.ts'
import { resultsOf, runsOf } from './results/results.ts'
import { type ReportFiles, writeReport } from './results/write.ts'
import { runStudy, type StudyOptions, type StudyState, studyOf } from './runs/run-study.ts'
import type { RunJob } from './runs/workers.ts'

export interface StudyOutcome {
  readonly interrupted: boolean
  /** Numbers of runs of the grid: finished, failed, and all. */
  readonly finished: number
  readonly failed: number
  readonly runs: number
  readonly files: ReportFiles
}

/** @throws what {@link runStudy} throws */
export async function study(specification: Specification, options: StudyOptions, run?: RunJob): Promise<StudyOutcome> {
  try {
    return await outcomeOf(specification, options, await runStudy(specification, options, run))
  } catch (error) {
    // A study that cannot continue still writes a report of its results so far.
    if (error instanceof RunError) await writeStudyReport(specification, options).catch(() => {})
    throw error
  }
}

/** Writes the report of existing results, without a run. @throws UsageError when there are none yet */
export async function writeStudyReport(specification: Specification, options: StudyOptions): Promise<StudyOutcome> {
  return outcomeOf(specification, options, await studyOf(specification, options))
}

async function outcomeOf(
  specification: Specification,
  options: StudyOptions,
  { grid, ledger, interrupted }: StudyState,
): Promise<StudyOutcome> {
  const results = resultsOf(specification, options, grid, ledger)
  const files = await writeReport(results, specification, options)
  const records = [...new Map(runsOf(grid, ledger).map(({ key, config }) => [key, ledger.find(key, config)])).values()]
  const count = (status: string) => records.filter((record) => record?.status === status).length
  return { interrupted, finished: count('finished'), failed: count('failed'), runs: records.length, files }
}
