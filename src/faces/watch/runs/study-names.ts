/**
 * Names of the runs of a study. The path of a run directory ends with a hash, so the page shows arm and seed instead:
 * `quick/runs/top-1-seed-2-2ba4cd10` becomes `quick/top-1, seed 2`.
 */
import { basename, dirname } from 'node:path'
import { runOfFolder, studyFolders } from '../../../node/run/study-arm.ts'
import type { FlatConfig, RunSummary } from '../api.ts'

/**
 * Purposes in the words of docs/study.md, by the folder of a study that a run is in. The runs by which arms are judged
 * have none.
 */
const purposes: ReadonlyMap<string, string | null> = new Map([
  [studyFolders.runs, null],
  [studyFolders.trials, 'trial'],
  [studyFolders.confirming, 'confirming run'],
])

/** Names a run. @param arm Arm in the record that the study wrote beside the run; null for the arm of the folder. */
export function nameOfRun(path: string, arm: string | null): string {
  const found = runOfFolder(basename(path))
  if (!found) return path
  const folders = path.split('/').slice(0, -1)
  const folder = folders.at(-1) ?? ''
  const study = purposes.has(folder) ? folders.slice(0, -1) : folders
  const purpose = purposes.get(folder) ?? null
  return [...study, `${arm ?? found.arm}, seed ${found.seed}${purpose === null ? '' : `, ${purpose}`}`].join('/')
}

/** The arm of a run of a study and its purpose, as fields beside its configuration. @param arm As above. */
export function studyFields(directory: string, arm: string | null): FlatConfig {
  const found = runOfFolder(basename(directory))
  if (!found) return {}
  const purpose = purposes.get(basename(dirname(directory))) ?? null
  return { 'study.arm': arm ?? found.arm, ...(purpose !== null && { 'study.purpose': purpose }) }
}

/** Settings in which the runs of an arm may differ, in words for a name. */
const varied: readonly (readonly [field: string, words: (value: unknown) => string])[] = [
  ['train.schedule.learningRate', (rate) => `lr ${rate}`],
  ['train.steps', (steps) => `${steps} steps`],
]

/** Adds the learning rate or the number of steps to the names of runs whose arm was trained with several of them. */
export function withVariedSettings(runs: readonly RunSummary[]): readonly RunSummary[] {
  const values = new Map<string, Set<unknown>>()
  const of = (run: RunSummary, field: string) => `${armIn(run)} ${field}`
  for (const run of runs)
    for (const [field] of varied) {
      const known = values.get(of(run, field)) ?? new Set()
      values.set(of(run, field), known.add(run.config[field]))
    }
  return runs.map((run) => {
    const told = varied.filter(([field]) => (values.get(of(run, field))?.size ?? 0) > 1)
    if (run.name === run.path || told.length === 0) return run
    return { ...run, name: [run.name, ...told.map(([field, words]) => words(run.config[field]))].join(', ') }
  })
}

const armIn = ({ name }: RunSummary): string => name.replace(/, seed \d+/, '')
