/**
 * A search: which configurations are tried, and for how many steps each. Configurations are drawn from ranges at
 * random, but a drawn value is a pure function of the seed, the setting and the number of the draw. So a search that is
 * started again has the same configurations, and a larger search begins with the configurations of a smaller one.
 *
 * Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943; the inner loop of Hyperband, Li et al. 2018, arXiv
 * 1603.06560) trains all configurations for a few steps, the best 1/eta of them for eta times as many steps, and so on.
 * Each round of this ladder is a *rung*.
 */

import type { Fields } from '../../../core/config/fields.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { hashText } from '../../../core/permutation.ts'
import { joinWords } from '../../../core/text/numbers.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { Rung } from '../contract.ts'
import type { Search, Searched, Settings, Specification } from '../specification.ts'
import { nameOf, refuseOwned } from './arms.ts'
import { keyOf } from './keys.ts'
import { assignmentsOf, flatten, isBelow, overlay } from './settings.ts'

/**
 * The rungs by rising steps. The last rung has `maxSteps` steps, and each rung before it 1/eta of the steps of the
 * next, as long as these are at least `minSteps`. Rungs that are equal after rounding are one rung, since a second one
 * would drop configurations without training them.
 * @throws UsageError if the first rung would be longer than the last
 */
export function rungsOf({ configurations, eta, minSteps }: Search, maxSteps: number): Rung[] {
  if (minSteps > maxSteps)
    throw new UsageError(
      `invalid search.minSteps: ${minSteps} (a whole training has ${maxSteps} steps; expected fewer)`,
    )
  /** Steps of the rung that is so many places before the last. */
  const stepsOf = (before: number) => Math.round(maxSteps / eta ** before)
  let count = 1
  while (stepsOf(count) >= minSteps && stepsOf(count) < stepsOf(count - 1)) count++
  return Array.from({ length: count }, (_, rung) => ({
    steps: stepsOf(count - 1 - rung),
    configurations: Math.max(1, Math.floor(configurations / eta ** rung)),
  }))
}

/** Number of draws in a row without a new configuration after which the ranges count as exhausted. */
const MAX_REPEATS = 1000

/**
 * The settings of each configuration by path, all different, in the order of the draws.
 * @throws UsageError if the ranges and choices allow fewer configurations
 */
export function drawSettings({ settings, configurations, seed }: Search): Fields[] {
  const found = new Map<string, Fields>()
  let repeats = 0
  for (let draw = 0; found.size < configurations; draw++) {
    const drawn = Object.fromEntries(
      Object.entries(settings).map(([path, searched]) => [path, valueAt(searched, uniform(path, draw, seed))]),
    )
    const key = JSON.stringify(drawn)
    repeats = found.has(key) ? repeats + 1 : 0
    if (!found.has(key)) found.set(key, drawn)
    if (repeats === MAX_REPEATS)
      throw new UsageError(
        `invalid search.configurations: ${configurations} (the ranges and choices allow about ${found.size} different ones)`,
      )
  }
  return [...found.values()]
}

/** A uniform number in [0, 1) for a setting and a draw. */
const uniform = (path: string, draw: number, seed: number): number => hashText(`${path} ${draw}`, seed) / 2 ** 53

/** Significant digits of a drawn number: as many as a person would write. */
const DIGITS = 4

function valueAt({ min = 0, max = 1, scale, integer, choices }: Searched, share: number): unknown {
  if (choices) return choices[Math.floor(share * choices.length)]
  const clamp = (value: number) => Math.min(max, Math.max(min, value))
  // A whole number is drawn for all fractions that round to it, so both ends are as likely as the numbers between.
  const [low, high] = integer ? [min - 0.5, max + 0.5] : [min, max]
  const value =
    scale === 'log' ? Math.exp(Math.log(low) + share * (Math.log(high) - Math.log(low))) : low + share * (high - low)
  return clamp(integer ? Math.round(value) : Number(value.toPrecision(DIGITS)))
}

/** Plans the search of a specification: every configuration, complete and checked. */

/** One configuration of a search. */
export interface Candidate {
  /** The searched settings as text, such as `learningRate=0.0012, k=2`. */
  readonly name: string
  readonly settings: Settings
  /** The complete configuration, with the steps of a whole training: all rungs follow one schedule. */
  readonly config: RunConfig
}

export interface SearchPlan {
  readonly search: Search
  /** The preset or file that all configurations start from. */
  readonly base: string
  readonly set: Settings
  /** Configurations in the order of the draws. */
  readonly candidates: readonly Candidate[]
  /** Rungs by rising steps. */
  readonly rungs: readonly Rung[]
  /** Seed of all trainings. */
  readonly seed: number
}

/** @throws UsageError for settings that cannot be searched, or that the schema refuses */
export async function planSearch(specification: Specification, search: Search): Promise<SearchPlan> {
  const { base, seeds } = specification
  const set = commonSettings(specification, search)
  const plain = await loadConfig(base, assignmentsOf(set))
  const drawn = drawSettings(search)
  const candidates: Candidate[] = []
  for (const settings of drawn) {
    const config = await loadConfig(base, assignmentsOf(overlay(set, settings))).catch((error: Error) => {
      if (!(error instanceof UsageError)) throw error
      throw new UsageError(
        `invalid search: a configuration with ${nameOf(settings)} is refused (change search.settings): ${error.message}`,
      )
    })
    candidates.push({ name: nameOf(settings), settings, config })
  }
  if ([plain.data.source, specification.elsewhere].flat().includes('-'))
    throw new UsageError(
      'invalid data.source: "-" (runs are separate processes and cannot read standard input; give files)',
    )
  const keys = new Set(candidates.map(({ config }) => keyOf(config)))
  if (keys.size < candidates.length)
    throw new UsageError(
      `invalid search.settings: ${joinWords(Object.keys(search.settings))} (${candidates.length} draws make only ${keys.size} different trainings; leave out settings that do not change results)`,
    )
  const rungs = rungsOf(search, plain.train.steps)
  const [seed = 1] = seeds
  return { search, base, set, candidates, rungs, seed }
}

/** Settings of all configurations, with the steps of a whole training. */
function commonSettings({ set }: Specification, search: Search): Settings {
  const common = flatten(set, 'set')
  const paths = Object.keys(search.settings)
  refuseOwned(common)
  for (const path of paths) {
    refuseOwned({ [path]: null })
    const why = unsearchable(path)
    if (why !== null) throw new UsageError(`invalid search.settings: ${path} cannot be searched (${why})`)
    const fixed = Object.keys(common).find((other) => other === path || isBelow(other, path) || isBelow(path, other))
    if (fixed !== undefined)
      throw new UsageError(`invalid ${fixed} for all configurations: ${path} is searched (leave out one of them)`)
  }
  const { maxSteps } = search
  if (maxSteps === undefined) return common
  const steps = common['train.steps']
  if (steps !== undefined && steps !== maxSteps)
    throw new UsageError(
      `invalid search.maxSteps: ${maxSteps} (train.steps is set to ${steps}; leave out one of them, or make them equal)`,
    )
  return { ...common, 'train.steps': maxSteps }
}

/** The reason why losses of configurations with different values of a setting cannot be compared; null if they can. */
function unsearchable(path: string): string | null {
  if (path === 'train.steps') return 'search.minSteps and search.maxSteps are the budgets of its rungs'
  const ofText = /^(data(\..+)?|model\.(vocabulary|sequence)|train\.batch|model|train|runtime|parallel)$/
  return ofText.test(path)
    ? 'configurations would not train on the same tokens; search single settings of model and train'
    : null
}
