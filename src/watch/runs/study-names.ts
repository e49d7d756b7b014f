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

/** An arm with a tuned learning rate has several runs with a seed: these names get the rate. */
export function distinctNames(runs: readonly RunSummary[]): readonly RunSummary[] {
  const counts = new Map<string, number>()
  for (const { name } of runs) counts.set(name, (counts.get(name) ?? 0) + 1)
  return runs.map((run) => {
    const rate = run.config['train.schedule.learningRate']
    const isShared = run.name !== run.path && (counts.get(run.name) ?? 0) > 1 && rate !== undefined
    return isShared ? { ...run, name: `${run.name}, lr ${rate}` } : run
  })
}
