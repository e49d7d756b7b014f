/**
 * Arms among the shown runs, and the pairs of an arm with a baseline. An arm is an experiment (runs/differences.ts) with
 * the runs of all its seeds. A pair has the same seeds, so that both runs read the same batches, and parameters that
 * both have start from the same values.
 */
import type { FlatConfig, RunSummary } from '../../../../src/faces/watch/api.ts'
import { experimentOf } from '../../runs/differences.ts'
import { sharedName } from '../../runs/names.ts'

type Run = Pick<RunSummary, 'id' | 'name' | 'path' | 'created' | 'config'>

export interface Arm {
  /** Name of the runs without their seeds. */
  readonly name: string
  /** One run for each seed, in the order of names. */
  readonly runs: readonly Run[]
  /** Runs in whose place another run of the same seed is used. */
  readonly repeated: readonly Run[]
}

export interface Contrast {
  readonly arm: Arm
  /** Ids of the run of the arm and the run of the baseline. */
  readonly pairs: readonly (readonly [arm: string, baseline: string])[]
  /** Runs of the arm whose seed the baseline lacks. */
  readonly unpaired: readonly Run[]
  /** Why the arm cannot be compared by pairs; null if it can. */
  readonly problem: string | null
}

/** The arms of runs with a configuration, in the order of their first runs. */
export function armsOf(runs: readonly Run[]): readonly Arm[] {
  const groups = new Map<string, Run[]>()
  for (const run of runs) {
    const experiment = experimentOf(run.config)
    if (experiment === null) continue
    const group = groups.get(experiment)
    if (group) group.push(run)
    else groups.set(experiment, [run])
  }
  return [...groups.values()].map((group) => {
    const bySeed = new Map<string, Run>()
    for (const run of group) {
      const known = bySeed.get(seedsOf(run.config))
      if (!known || isNewer(run, known)) bySeed.set(seedsOf(run.config), run)
    }
    const used = group.filter((run) => bySeed.get(seedsOf(run.config)) === run)
    const repeated = group.filter((run) => !used.includes(run))
    return { name: sharedName(group.map(({ name }) => name)), runs: used, repeated }
  })
}

/** What must be equal in the runs of a pair. The seed of the order of the text is the seed of the data by default. */
const seedsOf = (config: FlatConfig): string =>
  JSON.stringify([config['train.seed'], config['data.seed'], config['data.order'] ?? config['data.seed']])

/** A run that a study continued in a copy was created at the same time, and has a number at the end of its path. */
const isNewer = (one: Run, other: Run): boolean =>
  (one.created ?? 0) - (other.created ?? 0) > 0 || (one.created === other.created && one.path > other.path)

/**
 * Fields that decide which tokens a step trains and an evaluation reads, and how far the schedule is at a step. Runs
 * that differ in them are not compared step by step.
 */
const SAME_IN_PAIRS = [
  'data.source',
  'data.field',
  'data.encoding',
  'data.tokenizer.kind',
  'data.tokenizer.path',
  'data.heldOut',
  'model.vocabulary',
  'model.sequence',
  'train.batch',
  'train.steps',
  'train.evalBatches',
] as const

/** The contrast of each other arm with the baseline. */
export function contrastsOf(arms: readonly Arm[], baseline: Arm): readonly Contrast[] {
  const partners = new Map(baseline.runs.map((run) => [seedsOf(run.config), run.id]))
  return arms
    .filter((arm) => arm !== baseline)
    .map((arm) => {
      const problem = whyNotCompared(arm, baseline)
      if (problem !== null) return { arm, pairs: [], unpaired: [], problem }
      const pairs = arm.runs.flatMap(({ id, config }) => {
        const partner = partners.get(seedsOf(config))
        return partner === undefined ? [] : [[id, partner] as const]
      })
      const unpaired = arm.runs.filter(({ config }) => !partners.has(seedsOf(config)))
      return { arm, pairs, unpaired, problem: pairs.length === 0 ? 'it has no seed in common with the baseline' : null }
    })
}

function whyNotCompared(arm: Arm, baseline: Arm): string | null {
  const [one, other] = [arm.runs[0]?.config ?? {}, baseline.runs[0]?.config ?? {}]
  const field = SAME_IN_PAIRS.find((name) => one[name] !== other[name])
  if (field === undefined) return null
  const textOf = (config: FlatConfig) => String(config[field] ?? 'not set')
  return `${field} is ${textOf(one)}, and ${textOf(other)} in the baseline`
}

/** The pairs of contrasts, as a request has them. */
export const pairsText = (contrasts: readonly Contrast[]): string =>
  contrasts.map(({ pairs }) => pairs.map((pair) => pair.join('.')).join(',')).join(';')
