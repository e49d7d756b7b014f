/**
 * Differences between the configurations of runs. Runs that differ only in seeds repeat the same experiment, so seeds
 * are treated separately; the whole page uses the definition here.
 */
import type { FlatConfig, RunSummary } from '../../../src/faces/watch/api.ts'

export type Value = string | number | boolean | null

export interface Difference {
  readonly field: string
  /** Value of each run; undefined if the run lacks the field. */
  readonly values: readonly (Value | undefined)[]
  readonly seed: boolean
}

/** Fields that a study sets to the seed of a run, besides `train.seed`. */
const SEEDS_OF_STUDIES = new Set(['data.order', 'model.moe.hashSeed'])

const isSeed = (field: string): boolean => field === 'seed' || field.endsWith('.seed') || SEEDS_OF_STUDIES.has(field)

/** Fields about the location and origin of a run, which do not affect the computation. */
const IGNORED_FIELDS = new Set(['version', 'created', 'name', 'out'])

/** Fields with more than one value: first those that all runs have, seeds last, otherwise in configuration order. */
export function differences(runs: readonly Pick<RunSummary, 'config'>[]): readonly Difference[] {
  const fields = new Set(runs.flatMap(({ config }) => Object.keys(config)))
  const rows: Difference[] = []
  for (const field of fields) {
    if (IGNORED_FIELDS.has(field)) continue
    const values = runs.map(({ config }) => (Object.hasOwn(config, field) ? config[field] : undefined))
    if (new Set(values).size > 1) rows.push({ field, values, seed: isSeed(field) })
  }
  // A dense run lacks all fields of experts: twenty rows with one cause, which come after the others.
  const rank = ({ seed, values }: Difference) => (seed ? 2 : values.includes(undefined) ? 1 : 0)
  return rows.sort((one, other) => rank(one) - rank(other))
}

/**
 * Key of the experiment of a run, equal for runs that differ at most in seeds. In a study, the key leaves out the
 * threads, which follow from the machine of a run, and the name of the arm, which stands for other fields. It is null
 * without a configuration, because the experiment is then unknown.
 */
export function experimentOf(config: FlatConfig): string | null {
  const ofStudy = Object.hasOwn(config, 'study.arm') ? ['study.arm', 'runtime.threads'] : []
  const fields = Object.keys(config).filter(
    (field) => !isSeed(field) && !IGNORED_FIELDS.has(field) && !ofStudy.includes(field),
  )
  if (fields.length === 0) return null
  return JSON.stringify(fields.sort().map((field) => [field, config[field]]))
}
