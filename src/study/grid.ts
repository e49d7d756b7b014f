/**
 * From a specification to cells: every arm with every seed, each a complete configuration that `train`
 * accepts. Whatever is wrong is found here, before the first run.
 */
import { createHash } from 'node:crypto'
import { nearest, UsageError } from '../errors.ts'
import { type RunConfig, runSchema } from '../train/config.ts'
import { loadConfig } from '../train/load-config.ts'
import type { Cell, Question, Settings } from './contract.ts'
import type { Specification } from './specification.ts'

/** A study whose every cell is known. */
export interface Grid {
  /** What each arm sets besides what all set. */
  readonly arms: Readonly<Record<string, Settings>>
  /** Arms that are to be timed, with the first seed. */
  readonly timed: readonly Cell[]
  /** Keys of the runs whose experts are looked at: those of arms to specialise, with the first seed. */
  readonly specialised: ReadonlySet<string>
  readonly seeds: readonly number[]
  readonly questions: readonly Question[]
  /** Seed by seed, so that a study that is stopped has whole seeds. */
  readonly cells: readonly Cell[]
}

/** Fields that a study sets itself, or that must be the same for losses to be comparable. */
const ownedBy: Readonly<Record<string, string>> = {
  'train.seed': 'seeds',
  'data.order': 'seeds',
  'train.keep': 'the study',
  'train.checkpointEvery': 'the study',
  'train.routingEvery': 'the study',
}

/** Checkpoints in a run, so that little is lost when a study is stopped. */
const CHECKPOINTS = 4

/** Steps of which routing is written down, in a run. */
const ROUTING_LINES = 80

/**
 * @param sets Settings of all arms from outside (`path=value`), stronger than the specification's own, but
 *   not than what makes an arm what it is.
 * @throws UsageError listing what is wrong: unknown arms, equal arms, fields that the schema refuses
 */
export async function expand(specification: Specification, sets: readonly string[] = []): Promise<Grid> {
  const { seeds, base, set } = specification
  const repeated = seeds.find((seed, i) => seeds.indexOf(seed) !== i)
  if (repeated !== undefined) throw new UsageError(`invalid seeds: ${repeated} is there twice`)
  const arms = armsOf(specification)
  const trained = Object.keys(arms)
  if (trained.length === 0)
    throw new UsageError('invalid study: it has no arms (give arms by name, or a grid with lists of values)')
  for (const [name, settings] of Object.entries(specification.timedOnly)) {
    if (Object.hasOwn(arms, name)) throw new UsageError(`invalid study: two arms are called "${name}"`)
    arms[name] = settings
  }
  const names = Object.keys(arms)
  for (const settings of [set, ...Object.values(arms)]) refuseOwned(settings)

  for (const assignment of sets) {
    const path = assignment.slice(0, Math.max(0, assignment.indexOf('='))).trim()
    refuseOwned({ [path]: null })
    if (Object.values(arms).every((settings) => Object.hasOwn(settings, path)))
      throw new UsageError(`invalid --set: "${assignment}" (every arm of the study sets ${path} itself)`)
  }

  const problems: string[] = []
  const configs = new Map<string, RunConfig>()
  for (const name of names) {
    try {
      configs.set(name, await loadConfig(base, [...setsOf(set), ...sets, ...setsOf(arms[name] ?? {})]))
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      problems.push(`arm "${name}": ${error.message.replaceAll('\n', '\n  ')}`)
    }
  }
  if (problems.length > 0) throw new UsageError(listed(problems))

  const questions = questionsOf(specification, trained, configs)
  const timings = [...specification.timings, ...Object.keys(specification.timedOnly)]
  for (const name of timings) requireArm(name, names, 'timings')
  for (const name of specification.specialise) requireArm(name, trained, 'specialise')
  const cell = (arm: string, seed: number) => cellOf(arm, seed, configs.get(arm) as RunConfig)
  return {
    arms,
    timed: timings.map((arm) => cell(arm, seeds[0] as number)),
    specialised: new Set(specification.specialise.map((arm) => cell(arm, seeds[0] as number).key)),
    seeds,
    questions,
    cells: seeds.flatMap((seed) => trained.map((arm) => cell(arm, seed))),
  }
}

function cellOf(arm: string, seed: number, given: RunConfig): Cell {
  const config: RunConfig = {
    ...given,
    data: { ...given.data, order: seed },
    train: {
      ...given.train,
      seed,
      keep: 1,
      checkpointEvery: Math.ceil(given.train.steps / CHECKPOINTS),
      routingEvery: Math.ceil(given.train.steps / ROUTING_LINES),
    },
  }
  return { arm, seed, config, key: keyOf(config) }
}

/** Settings as `--set` wants them: JSON is YAML. */
const setsOf = (settings: Settings): string[] =>
  Object.entries(settings).map(([path, value]) => `${path}=${JSON.stringify(value)}`)

function armsOf({ arms, grid }: Specification): Record<string, Settings> {
  const all: Record<string, Settings> = {}
  for (const [name, settings] of Object.entries(arms)) all[name] = settings ?? {}
  for (const settings of product(Object.entries(grid))) {
    const name = nameOf(settings)
    if (Object.hasOwn(all, name)) throw new UsageError(`invalid study: two arms are called "${name}"`)
    all[name] = settings
  }
  return all
}

/** Every combination of values; none of no fields. */
function product(fields: readonly (readonly [string, readonly unknown[]])[]): Settings[] {
  if (fields.length === 0) return []
  return fields.reduce<Settings[]>(
    (before, [path, values]) => before.flatMap((settings) => values.map((value) => ({ ...settings, [path]: value }))),
    [{}],
  )
}

/** `k=2, factor=1.25`: the last part of a path, or more of it where two end alike. */
function nameOf(settings: Settings): string {
  const paths = Object.keys(settings)
  const short = (path: string): string => {
    const parts = path.split('.')
    for (let length = 1; length < parts.length; length++) {
      const end = parts.slice(-length).join('.')
      if (paths.filter((other) => other === end || other.endsWith(`.${end}`)).length === 1) return end
    }
    return path
  }
  const shown = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
  return paths.map((path) => `${short(path)}=${shown(settings[path])}`).join(', ')
}

function questionsOf(
  specification: Specification,
  names: readonly string[],
  configs: ReadonlyMap<string, RunConfig>,
): Question[] {
  const [first = '', ...others] = names
  const given =
    specification.questions ??
    (others.length === 0
      ? []
      : [
          {
            title: 'All arms',
            about: `Every arm against ${first}.`,
            view: 'plain' as const,
            baseline: first,
            arms: others,
          },
        ])
  // The report has a summary of its own.
  const seen = new Set(['summary'])
  return given.map(({ title, about, view, ...rest }) => {
    const pairs =
      'contrasts' in rest && rest.contrasts
        ? rest.contrasts
        : (rest.arms ?? []).map((arm) => [rest.baseline ?? '', arm] as [string, string])
    for (const [baseline, arm] of pairs) {
      for (const name of [baseline, arm]) requireArm(name, names, `question "${title}"`)
      requireComparable(baseline, arm, configs, title)
    }
    return {
      id: freeId(title, seen),
      title,
      about,
      view,
      contrasts: pairs.map(([baseline, arm]) => ({ baseline, arm })),
    }
  })
}

function requireArm(name: string, names: readonly string[], where: string): void {
  if (names.includes(name)) return
  const near = nearest(name, names)
  const hint = near === undefined ? '' : `; did you mean "${near}"?`
  const some = names.slice(0, 12).map((other) => `"${other}"`)
  throw new UsageError(
    `unknown arm "${name}" in ${where} (arms: ${some.join(', ')}${names.length > some.length ? ', ...' : ''}${hint})`,
  )
}

/** A difference in loss means something only over the same tokens, and between two different arms. */
function requireComparable(a: string, b: string, configs: ReadonlyMap<string, RunConfig>, title: string): void {
  const [one, other] = [configs.get(a) as RunConfig, configs.get(b) as RunConfig]
  const where = `invalid question "${title}": "${b}" cannot be compared with "${a}"`
  if (keyOf(one) === keyOf(other)) throw new UsageError(`${where}: they are the same configuration`)
  const tokens = ({ model, data, train }: RunConfig) => ({
    'model.vocabulary': model.vocabulary,
    'model.sequence': model.sequence,
    'train.batch': train.batch,
    'train.steps': train.steps,
    data: { ...data, cache: undefined, order: undefined },
  })
  for (const [field, value] of Object.entries(tokens(one))) {
    if (JSON.stringify(value) !== JSON.stringify(tokens(other)[field as keyof ReturnType<typeof tokens>]))
      throw new UsageError(`${where}: ${field} differs, so they do not learn from the same tokens`)
  }
}

function refuseOwned(settings: Settings): void {
  for (const path of Object.keys(settings)) {
    const owner = ownedBy[path]
    if (owner !== undefined) throw new UsageError(`invalid ${path} in a study: it is set by ${owner}`)
  }
}

function freeId(title: string, seen: Set<string>): string {
  const plain =
    title
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '') || 'question'
  let id = plain
  for (let i = 2; seen.has(id); i++) id = `${plain}-${i}`
  seen.add(id)
  return id
}

function listed(problems: readonly string[]): string {
  const shown = problems.slice(0, 10)
  const rest = problems.length > shown.length ? `\n  and ${problems.length - shown.length} more` : ''
  return `invalid study:\n  ${shown.join('\n  ')}${rest}`
}

/** Fields that change where and how fast a run computes, and how much of it is written down. */
function decisive({ model, data, train, runtime }: RunConfig): object {
  const { cache: _, ...text } = data
  const { keep: _k, checkpointEvery: _c, routingEvery: _r, maxNonFinite: _n, ...training } = train
  return { model, data: text, train: training, math: runtime.math }
}

const defaults = decisive(runSchema.parse({}))

/**
 * Names the result of a configuration. Fields that have their default do not count, so a new field of the
 * schema leaves the names of earlier results as they are.
 */
export function keyOf(config: RunConfig): string {
  const differing = JSON.stringify(sorted(without(decisive(config), defaults)))
  return createHash('sha256').update(differing).digest('hex').slice(0, 16)
}

/** Whether a stored result is one of this configuration: a default may have changed since it was made. */
export function isResultOf(stored: RunConfig, config: RunConfig): boolean {
  return JSON.stringify(sorted(decisive(runSchema.parse(stored)))) === JSON.stringify(sorted(decisive(config)))
}

type Fields = Readonly<Record<string, unknown>>
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

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
