/** By what a result is known: a hash of all that decides it. */
import { createHash } from 'node:crypto'
import { isFields } from '../../config/fields.ts'
import { type RunConfig, runSchema } from '../../config/run-config.ts'
import { NUMERICS } from './numerics.ts'

/** Fields that change where and how fast a run computes, and how much of it is written down. */
function decidingFields({ model, data, train, runtime }: RunConfig): object {
  const { cache: _, ...text } = data
  const { keep: _k, checkpointEvery: _c, routingEvery: _r, maxNonFinite: _n, ...training } = train
  return { model, data: text, train: training, math: runtime.math }
}

const defaults = decidingFields(runSchema.parse({}))

/**
 * Names the result of a configuration. Fields that have their default do not count, so a new field of the
 * schema leaves the names of earlier results as they are; other numerics have other names, so that a run
 * that an older program began is not continued.
 */
export function keyOf(config: RunConfig): string {
  const differing = `${NUMERICS} ${JSON.stringify(sorted(without(decidingFields(config), defaults)))}`
  return createHash('sha256').update(differing).digest('hex').slice(0, 16)
}

/** Whether a stored result is one of this configuration: a default may have changed since it was made. */
export function isResultOf(stored: RunConfig, config: RunConfig): boolean {
  const { data: known } = runSchema.safeParse(stored)
  return (
    known !== undefined &&
    JSON.stringify(sorted(decidingFields(known))) === JSON.stringify(sorted(decidingFields(config)))
  )
}

/** The part of `value` that differs from `base`; undefined when nothing does. */
function without(value: unknown, base: unknown): unknown {
  if (!isFields(value) || !isFields(base)) return JSON.stringify(value) === JSON.stringify(base) ? undefined : value
  const rest = Object.entries(value).flatMap(([key, below]) => {
    const differing = without(below, base[key])
    return differing === undefined ? [] : [[key, differing] as const]
  })
  return rest.length > 0 ? Object.fromEntries(rest) : undefined
}

function sorted(value: unknown): unknown {
  if (!isFields(value)) return value
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  )
}
