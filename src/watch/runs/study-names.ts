/**
 * Names of the runs of a study. The path of a run directory ends with a hash, so the page shows arm and seed instead:
 * `quick/runs/top-1-seed-2-2ba4cd10` is `quick/top-1, seed 2`.
 */
import { basename } from 'node:path'
import { runOfFolder, studyFolders } from '../../run/study-arm.ts'
import type { RunSummary } from '../api.ts'

/** @param arm Of the study's record beside the run; null: as the folder has it. */
export function nameOfRun(path: string, arm: string | null): string {
  const found = runOfFolder(basename(path))
  if (!found) return path
  const folders = path.split('/').slice(0, -1)
  const isTrial = folders.at(-1) === studyFolders.trials
  const study = isTrial || folders.at(-1) === studyFolders.runs ? folders.slice(0, -1) : folders
  return [...study, `${arm ?? found.arm}, seed ${found.seed}${isTrial ? ', trial' : ''}`].join('/')
}

/** If an arm was trained at several learning rates, the names of its runs get the rate. */
export function withRates(runs: readonly RunSummary[]): readonly RunSummary[] {
  const rates = new Map<string, Set<unknown>>()
  for (const run of runs) {
    const known = rates.get(armIn(run)) ?? new Set()
    rates.set(armIn(run), known.add(run.config[RATE]))
  }
  return runs.map((run) =>
    run.name !== run.path && (rates.get(armIn(run))?.size ?? 0) > 1
      ? { ...run, name: `${run.name}, lr ${run.config[RATE]}` }
      : run,
  )
}

const RATE = 'train.schedule.learningRate'
const armIn = ({ name }: RunSummary): string => name.replace(/, seed \d+/, '')
