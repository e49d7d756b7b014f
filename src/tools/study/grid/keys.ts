/** Keys of results: a hash of everything that decides a result. */
import { createHash } from 'node:crypto'
import { isFields } from '../../../core/config/fields.ts'
import { type RunConfig, runSchema } from '../../../core/config/run-config.ts'
import { NUMERICS } from './numerics.ts'

/** Omits fields that only change where and how fast a run computes, and how much of it is recorded. */
function decidingFields({ model, data, train, parallel, runtime }: RunConfig): object {
  const { cache: _, ...text } = data
  const { keep: _k, checkpointEvery: _c, routingEvery: _r, maxNonFinite: _n, ...training } = train
  return { model, data: text, train: training, shards: parallel.shards, math: runtime.math }
}

/** Length of the hash in a key. Keys of trials and of rungs of searches have an ending after it. */
const KEY_DIGITS = 16

const defaults = decidingFields(runSchema.parse({}))

/**
 * The key of the result of a configuration. Fields with their default do not count, so a new field of the
 * schema does not change earlier keys. The version of the numerics counts, so a run that was started by an
 * older program is not continued.
 */
export function keyOf(config: RunConfig): string {
  return hashOf(`${NUMERICS} ${differing(config)}`)
}

/** A hash of the settings that decide a result, the same under every version of the numerics. */
export const settingsHashOf = (config: RunConfig): string => hashOf(differing(config))

const differing = (config: RunConfig): string => JSON.stringify(sorted(without(decidingFields(config), defaults)))

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, KEY_DIGITS)

/** The key that this program gives a training, from its key of older numerics; trials and rungs keep their endings. */
export function currentKeyOf(key: string, stored: RunConfig): string {
  const { data: config } = runSchema.safeParse(stored)
  return config ? `${keyOf(config)}${key.slice(KEY_DIGITS)}` : key
}

/** Whether a stored result belongs to this configuration: a default may have changed since it was stored. */
export function isResultOf(stored: RunConfig, config: RunConfig): boolean {
  const { data: known } = runSchema.safeParse(stored)
  return (
    known !== undefined &&
    JSON.stringify(sorted(decidingFields(known))) === JSON.stringify(sorted(decidingFields(config)))
  )
}

/** The part of `value` that differs from `base`; undefined if they are equal. */
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
