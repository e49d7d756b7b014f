/**
 * In what runs differ, as their configurations tell. What differs in nothing but seeds is the same experiment made
 * again, so seeds are told apart from the rest here, for the whole page.
 */
import type { FlatConfig, RunSummary } from '../../../src/watch/api.ts'

export type Value = string | number | boolean | null

export interface Difference {
  readonly field: string
  /** One a run; undefined where a run does not have the field. */
  readonly values: readonly (Value | undefined)[]
  readonly seed: boolean
}

const isSeed = (field: string): boolean => field === 'seed' || field.endsWith('.seed')

/** Say where a run is and who wrote it, and nothing of what is computed. */
const beside = new Set(['version', 'created', 'name', 'out'])

/** Fields with more than one value among the runs: those that all have first, seeds last; else in the order of the configurations. */
export function differences(runs: readonly Pick<RunSummary, 'config'>[]): readonly Difference[] {
  const fields = new Set(runs.flatMap(({ config }) => Object.keys(config)))
  const rows: Difference[] = []
  for (const field of fields) {
    if (beside.has(field)) continue
    const values = runs.map(({ config }) => (Object.hasOwn(config, field) ? config[field] : undefined))
    if (new Set(values).size > 1) rows.push({ field, values, seed: isSeed(field) })
  }
  // A dense run lacks all fields of experts, which says one thing and not twenty.
  const rank = ({ seed, values }: Difference) => (seed ? 2 : values.includes(undefined) ? 1 : 0)
  return rows.sort((one, other) => rank(one) - rank(other))
}

/** Equal for runs that differ in seeds at most. Null without a configuration: nobody knows what such a run is. */
export function experimentOf(config: FlatConfig): string | null {
  const fields = Object.keys(config).filter((field) => !isSeed(field) && !beside.has(field))
  if (fields.length === 0) return null
  return JSON.stringify(fields.sort().map((field) => [field, config[field]]))
}
