/** Plans the search of a specification: every configuration, complete and checked. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { joinWords } from '../../../core/text/numbers.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { Settings } from '../contract.ts'
import { keyOf } from '../results/keys.ts'
import { nameOf, refuseOwned } from './arms.ts'
import { drawSettings, type Rung, rungsOf, type Search } from './search.ts'
import { assignmentsOf, flatten, isBelow, overlay } from './settings.ts'
import type { Specification } from './specification.ts'

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
