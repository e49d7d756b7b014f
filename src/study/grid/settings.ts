/**
 * Settings by dotted path, and how those of an arm lie over those of all arms. A path that is set to null,
 * as `model.moe` for a dense model, and a path below it exclude each other: the stronger one stays.
 */
import { UsageError } from '../../errors.ts'
import type { Settings } from '../contract.ts'

/** Settings as `--set` wants them: JSON is YAML. */
export const assignmentsOf = (settings: Settings): string[] =>
  Object.entries(settings).map(([path, value]) => `${path}=${JSON.stringify(value)}`)

/**
 * Groups of fields, as in `train: { steps: 600 }`, as paths: a group would replace what stands beside.
 * @param owner Whose settings they are, for errors: `arm "dense"`.
 * @throws UsageError when a group is set to a value and a field of it to another
 */
export function flatten(settings: Settings, owner: string): Settings {
  const fields = Object.fromEntries(pathsOf(settings))
  for (const path of Object.keys(fields)) {
    const group = Object.keys(fields).find((other) => isBelow(path, other))
    if (group !== undefined)
      throw new UsageError(
        `invalid ${owner}: it sets ${group} to ${JSON.stringify(fields[group])} and ${path} to ${JSON.stringify(fields[path])} (leave out one of them)`,
      )
  }
  return fields
}

/** `stronger` over `weaker`: fields of a group that `stronger` sets to null are gone, and so is a null above its fields. */
export function overlay(weaker: Settings, stronger: Settings): Settings {
  const paths = Object.keys(stronger)
  const rest = Object.entries(weaker).filter(
    ([path]) => !paths.some((other) => path === other || isBelow(path, other) || isBelow(other, path)),
  )
  return { ...Object.fromEntries(rest), ...stronger }
}

export const isBelow = (path: string, group: string): boolean => path.startsWith(`${group}.`)

function pathsOf(settings: Settings, before = ''): [string, unknown][] {
  return Object.entries(settings).flatMap(([key, value]): [string, unknown][] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? pathsOf(value as Settings, `${before}${key}.`)
      : [[before + key, value]],
  )
}
