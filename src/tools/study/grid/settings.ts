/**
 * Settings by dotted path, and how the settings of an arm override the settings of all arms. A path that is set to
 * null (`model.moe` for a dense model) and a path below it exclude each other: the overriding path stays.
 */
import { type Option, UsageError, wording } from '../../../core/errors.ts'
import type { Settings } from '../specification.ts'

/** Settings in the syntax of `--set`: JSON is valid YAML. */
export const assignmentsOf = (settings: Settings): string[] =>
  Object.entries(settings).map(([path, value]) => `${path}=${JSON.stringify(value)}`)

/**
 * Turns groups of fields (`train: { steps: 600 }`) into paths: a group would also replace the fields that it omits.
 * @param owner Names the settings in errors: `arm "dense"`.
 * @throws UsageError if both a group and a field of the group are set
 */
export function flatten(settings: Settings, owner: string | Option): Settings {
  const fields = Object.fromEntries(pathsOf(settings))
  for (const path of Object.keys(fields)) {
    const group = Object.keys(fields).find((other) => isBelow(path, other))
    if (group !== undefined)
      throw new UsageError(
        wording`invalid ${owner}: it sets ${group} to ${JSON.stringify(fields[group])} and ${path} to ${JSON.stringify(fields[path])} (leave out one of them)`,
      )
  }
  return fields
}

/** Lays `top` over `base`. A group that `top` sets to null removes its fields from `base`; a field removes a null group. */
export function overlay(base: Settings, top: Settings): Settings {
  const paths = Object.keys(top)
  const rest = Object.entries(base).filter(
    ([path]) => !paths.some((other) => path === other || isBelow(path, other) || isBelow(other, path)),
  )
  return { ...Object.fromEntries(rest), ...top }
}

export const isBelow = (path: string, group: string): boolean => path.startsWith(`${group}.`)

/** The value at a path of nested objects and arrays; undefined if there is no value. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null ? (inner as Readonly<Record<PropertyKey, unknown>>)[key] : undefined,
    value,
  )
}

function pathsOf(settings: Settings, before = ''): [string, unknown][] {
  return Object.entries(settings).flatMap(([key, value]): [string, unknown][] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? pathsOf(value as Settings, `${before}${key}.`)
      : [[before + key, value]],
  )
}
