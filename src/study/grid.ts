/**
 * From a specification to cells: every arm with every seed, each a complete configuration that `train`
 * accepts. Whatever is wrong is found here, before the first run.
 */
import { nearest, UsageError } from '../errors.ts'
import type { RunConfig } from '../train/config.ts'
import { loadConfig } from '../train/load-config.ts'
import { armsOf, setsOf } from './arms.ts'
import type { Cell, Question, Settings } from './contract.ts'
import { keyOf } from './keys.ts'
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

/** Checkpoints in a run, so that little is lost when a study is stopped. */
const CHECKPOINTS = 4

/** Steps of which routing is written down, in a run. */
const ROUTING_LINES = 80

/** @throws UsageError listing what is wrong: unknown arms, equal arms, fields that the schema refuses */
export async function expand(specification: Specification): Promise<Grid> {
  const { seeds, base } = specification
  const repeated = seeds.find((seed, i) => seeds.indexOf(seed) !== i)
  if (repeated !== undefined) throw new UsageError(`invalid seeds: ${repeated} is there twice`)
  const { set, trained, timedOnly } = armsOf(specification)
  const all: Readonly<Record<string, Settings>> = { ...trained, ...timedOnly }
  const names = Object.keys(trained)

  const problems: string[] = []
  const configs = new Map<string, RunConfig>()
  for (const [name, settings] of Object.entries(all)) {
    try {
      configs.set(name, await loadConfig(base, [...setsOf(set), ...setsOf(settings)]))
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      problems.push(`arm "${name}": ${error.message.replaceAll('\n', '\n  ')}`)
    }
  }
  if (problems.length > 0) throw new UsageError(listed(problems))
  for (const [name, { data }] of configs)
    if ([data.source, specification.elsewhere].flat().includes('-'))
      throw new UsageError(`invalid data.source of arm "${name}": "-" (runs are processes of their own; give files)`)

  const questions = questionsOf(specification, names, configs)
  const timings = [...new Set([...specification.timings, ...Object.keys(timedOnly)])]
  for (const name of timings) requireArm(name, Object.keys(all), 'timings')
  for (const name of specification.specialise) {
    requireArm(name, names, 'specialise')
    if (configs.get(name)?.model.moe === null)
      throw new UsageError(`invalid specialise: "${name}" is a dense model, which has no experts`)
  }
  const cell = (arm: string, seed: number) => cellOf(arm, seed, configs.get(arm) as RunConfig)
  const first = seeds[0] as number
  return {
    arms: all,
    timed: timings.map((arm) => cell(arm, first)),
    specialised: new Set(specification.specialise.map((arm) => cell(arm, first).key)),
    seeds,
    questions,
    cells: seeds.flatMap((seed) => names.map((arm) => cell(arm, seed))),
  }
}

function cellOf(arm: string, seed: number, given: RunConfig): Cell {
  const { moe } = given.model
  const config: RunConfig = {
    ...given,
    // The tables of a hash router are drawn like initial parameters: with the seed.
    ...(moe?.router === 'hash' && { model: { ...given.model, moe: { ...moe, hashSeed: seed } } }),
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
    const distinct = [...new Map(pairs.map((pair) => [JSON.stringify(pair), pair])).values()]
    for (const [baseline, arm] of distinct) {
      for (const name of [baseline, arm]) requireArm(name, names, `question "${title}"`)
      requireComparable(baseline, arm, configs, title)
    }
    return {
      id: freeId(title, seen),
      title,
      about,
      view,
      contrasts: distinct.map(([baseline, arm]) => ({ baseline, arm })),
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
