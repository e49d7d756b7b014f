/** The arms of a specification: the name of each and its settings by dotted paths. */
import { option, UsageError, wording } from '../../../core/errors.ts'
import type { Match } from '../contract.ts'
import type { MatchSpecification, Settings, Specification } from '../specification.ts'
import { flatten, overlay } from './settings.ts'

/** Largest number of arms of a grid: more are probably a mistake. */
const MAX_ARMS = 1000

/** Fields that a study sets itself, with the part of the study that sets them. */
const ownedBy: Readonly<Record<string, string>> = {
  'train.seed': 'seeds',
  'model.moe.hashSeed': 'seeds',
  'data.order': 'seeds',
  'train.keep': 'the study',
  'train.checkpointEvery': 'the study',
  'train.routingEvery': 'the study',
}

export interface Arms {
  /** Settings of all arms; the settings of an arm override them. */
  readonly set: Settings
  readonly trained: Readonly<Record<string, Settings>>
  readonly timedOnly: Readonly<Record<string, Settings>>
  /** Arms with a field that the study solves for, which `trained` lacks. */
  readonly matches: Readonly<Record<string, MatchSpecification>>
}

/** @throws UsageError without arms, with too many, with duplicate names, or with settings that arms may not have */
export function armsOf({ set, arms, grid, timedOnly }: Specification): Arms {
  const combinations = Object.values(grid).reduce((count, values) => count * values.length, 1)
  if (combinations > MAX_ARMS)
    throw new UsageError(`invalid grid: ${combinations} combinations (at most ${MAX_ARMS}; leave out fields or values)`)
  const named = new Map<string, Settings>()
  const add = (name: string, settings: Settings) => {
    if (named.has(name)) throw new UsageError(`invalid study: two arms are called "${name}"`)
    if (/^\d+$/.test(name) || name === '__proto__')
      throw new UsageError(
        `invalid name of an arm: "${name}" (expected a word, for example "k=${name}": numbers would change the order of arms)`,
      )
    named.set(name, flatten(settings, `arm "${name}"`))
  }
  const matches = new Map<string, MatchSpecification>()
  for (const [name, arm] of Object.entries(arms)) {
    const { match, ...settings } = arm ?? {}
    add(name, settings)
    if (match === undefined) continue
    matches.set(name, match)
    if (match.by !== undefined) refuseOwned({ [match.by]: null })
  }
  for (const settings of product(Object.entries(grid))) add(nameOf(settings), settings)
  if (named.size === 0) throw noArms('invalid study')
  const trained = Object.fromEntries(named)
  for (const [name, settings] of Object.entries(timedOnly)) add(name, settings)
  const all = [...named.values()]
  const common = flatten(set, 'set')
  for (const settings of [common, ...all]) refuseOwned(settings)
  return {
    set: common,
    trained,
    timedOnly: Object.fromEntries([...named].filter(([name]) => Object.hasOwn(timedOnly, name))),
    matches: Object.fromEntries(matches),
  }
}

/**
 * @param arms Settings of all arms, solved fields included.
 * @throws UsageError for a setting of all arms that no arm uses
 */
export function refuseUnused(common: Settings, arms: readonly Settings[], matches: readonly Match[]): void {
  const sets = (settings: Settings, path: string) => Object.hasOwn(settings, path)
  for (const path of Object.keys(common)) {
    if (arms.some((settings) => !sets(settings, path) && sets(overlay(common, settings), path))) continue
    const itself = `sets it itself${matches.some(({ by }) => by === path) ? ', or has it solved for by its match' : ''}`
    const why = arms.every((settings) => sets(settings, path))
      ? `every arm of the study ${itself}`
      : `each arm of the study ${itself} or, being a dense model, has no such field`
    throw new UsageError(`invalid ${path} for all arms (${why})`)
  }
}

/** Every combination of the values of the fields; empty without fields. */
function product(fields: readonly (readonly [string, readonly unknown[]])[]): Settings[] {
  if (fields.length === 0) return []
  return fields.reduce<Settings[]>(
    (before, [path, values]) => before.flatMap((settings) => values.map((value) => ({ ...settings, [path]: value }))),
    [{}],
  )
}

/**
 * The name of an arm: `k=2, factor=1.25`, with the last part of each path, or as many parts as make it unique.
 * @param among Paths that a name must be distinct from; default: the paths of the arm.
 */
export function nameOf(settings: Settings, among: readonly string[] = Object.keys(settings)): string {
  const short = (path: string): string => {
    const parts = path.split('.')
    for (let length = 1; length < parts.length; length++) {
      const end = parts.slice(-length).join('.')
      if (among.filter((other) => other === end || other.endsWith(`.${end}`)).length === 1) return end
    }
    return path
  }
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
  return Object.keys(settings)
    .map((path) => `${short(path)}=${text(settings[path])}`)
    .join(', ')
}

/** @throws UsageError for a field that a study sets itself */
export function refuseOwned(settings: Settings): void {
  for (const path of Object.keys(settings)) {
    const owner = ownedBy[path]
    if (owner !== undefined) throw new UsageError(`invalid ${path} in a study: it is set by ${owner}`)
  }
}

/** The error about a study without arms. @param beginning Such as `invalid study mine.yaml` */
export const noArms = (beginning: string): UsageError =>
  new UsageError(
    wording`${beginning}: it has no arms (give arms by name, or a grid with lists of values; a search needs ${option('search')})`,
  )
