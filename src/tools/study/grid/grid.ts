/**
 * Expands a specification into cells: every arm with every seed, each a complete configuration that `train`
 * accepts. All errors are found here, before the first run.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { checkOptimizer } from '../../../train/step/optimizer/own-rule.ts'
import { checkRates } from '../../../train/step/optimizer/own-schedule.ts'
import type { Cell, Contrast, Match, Protocol, Question } from '../contract.ts'
import { fairRule } from '../held-out.ts'
import type { Settings, Specification } from '../specification.ts'
import type { Intervals } from '../statistics.ts'
import { armsOf, refuseUnused } from './arms.ts'
import { branchProblem, cellOf, chainOf, rungCell, wholeRuns } from './cells.ts'
import { solveMatches } from './matches.ts'
import { protocolOf, questionsOf, requireArm, requireComparable } from './questions.ts'
import { planSearch, type SearchPlan } from './search.ts'
import { assignmentsOf, overlay } from './settings.ts'

/** The learning-rate sweep of an arm. */
export interface Sweep {
  readonly arm: string
  /** Configuration of the arm at its own rate, without a seed. */
  readonly config: RunConfig
  /** Steps of a trial. */
  readonly steps: number
  /** Multiples of the arm's own rate that are tried first, rising. */
  readonly rates: readonly number[]
  readonly seeds: readonly number[]
  /** Seeds of the whole runs that confirm a best rate. */
  readonly confirm: readonly number[]
  /** Margin in nats a token: another rate replaces the arm's own rate only if it is better by more than this. */
  readonly margin: number
}

/** An expanded study. */
export interface Grid {
  /** Settings of each arm, without the settings that all arms share. */
  readonly arms: Readonly<Record<string, Settings>>
  /** Fields of arms that were solved for; `arms` has their values. */
  readonly matches: readonly Match[]
  /** Arms to time, with the first seed. */
  readonly timed: readonly Cell[]
  /** Keys of the runs whose expert specialisation is measured: the arms of `specialise` with the first seed. */
  readonly specialised: ReadonlySet<string>
  readonly seeds: readonly number[]
  /** Shares of the steps of an arm at which its runs end: only 1, unless the study has branches. */
  readonly branches: readonly number[]
  readonly questions: readonly Question[]
  /** The predictions of the study with everything that could bend them; without predictions, its list is empty. */
  readonly protocol: Protocol
  /** Capacity rule of the held-out losses that verdicts use. */
  readonly capacity: CapacityRule
  /** Intervals over seeds of the complete study. */
  readonly intervals: Intervals
  /** One sweep for each arm; empty if learning rates are not tuned. */
  readonly sweeps: readonly Sweep[]
  /** The contrast whose arms run first; null if nothing is compared. */
  readonly pilot: Contrast | null
  /**
   * Runs at the common rate. They are ordered by seed, so that a study that is stopped has complete seeds, and the
   * branches of an arm go from the shortest to the longest. A search has the cells of its first rung here.
   */
  readonly cells: readonly Cell[]
  /** A search for the best settings, instead of questions about arms. */
  readonly search?: SearchPlan
}

/** @throws UsageError for unknown arms, equal arms and fields that the schema refuses */
export async function expand(specification: Specification): Promise<Grid> {
  const { seeds, base, search } = specification
  if (search) return gridOfSearch(await planSearch(specification, search), specification)
  const repeated = seeds.find((seed, i) => seeds.indexOf(seed) !== i)
  if (repeated !== undefined) throw new UsageError(`invalid seeds: ${repeated} appears twice`)
  const { set, trained, timedOnly, matches: open } = armsOf(specification)
  const all: Record<string, Settings> = { ...trained, ...timedOnly }
  const names = Object.keys(trained)

  const problems: string[] = []
  const configs = new Map<string, RunConfig>()
  const load = async (some: readonly string[]) => {
    for (const name of some) {
      try {
        const config = await loadConfig(base, assignmentsOf(overlay(set, all[name] as Settings)))
        checkRates(config.train)
        checkOptimizer(config)
        configs.set(name, config)
      } catch (error) {
        if (!(error instanceof UsageError)) throw error
        problems.push(`arm "${name}": ${error.message.replaceAll('\n', '\n  ')}`)
      }
    }
    if (problems.length > 0) throw new UsageError(problemList(problems))
  }
  await load(Object.keys(all).filter((name) => !Object.hasOwn(open, name)))
  const matches = await solveMatches({ specification, set, arms: trained, matches: open }, configs)
  for (const { arm, by, value } of matches) all[arm] = { ...all[arm], [by]: value }
  refuseUnused(set, Object.values(all), matches)
  await load(Object.keys(open))
  for (const [name, { data }] of configs)
    if ([data.source, specification.elsewhere].flat().includes('-'))
      throw new UsageError(
        `invalid data.source of arm "${name}": "-" (runs are separate processes and cannot read standard input; give files)`,
      )

  const { branches = wholeRuns } = specification
  for (const name of names) {
    const problem = branchProblem(configs.get(name) as RunConfig, branches)
    if (problem !== null) problems.push(`arm "${name}": ${problem}`)
  }
  if (problems.length > 0) throw new UsageError(problemList(problems))

  const questions = questionsOf(specification, names, configs)
  const timings = [...new Set([...specification.timings, ...Object.keys(timedOnly)])]
  for (const name of timings) requireArm(name, Object.keys(all), 'timings')
  for (const name of specification.specialise) {
    requireArm(name, names, 'specialise')
    if (configs.get(name)?.model.moe === null)
      throw new UsageError(`invalid specialise: "${name}" is a dense model, which has no experts`)
  }
  const cell = (arm: string, seed: number) => cellOf(arm, seed, 'common', configs.get(arm) as RunConfig)
  const first = seeds[0] as number
  return {
    arms: all,
    matches,
    timed: timings.map((arm) => cell(arm, first)),
    specialised: new Set(specification.specialise.map((arm) => cell(arm, first).key)),
    seeds,
    branches,
    questions,
    protocol: protocolOf(specification, questions, configs),
    capacity: specification.capacity,
    intervals: specification.intervals ?? 'student',
    sweeps: sweepsOf(specification, names, configs),
    pilot: pilotOf(specification.pilot, questions, names, configs),
    cells: seeds.flatMap((seed) =>
      names.flatMap((arm) => chainOf(arm, seed, 'common', configs.get(arm) as RunConfig, branches)),
    ),
  }
}

function gridOfSearch(plan: SearchPlan, { capacity, intervals = 'student' }: Specification): Grid {
  const { candidates, rungs, seed } = plan
  return {
    arms: Object.fromEntries(candidates.map(({ name, settings }) => [name, settings])),
    matches: [],
    timed: [],
    specialised: new Set(),
    seeds: [seed],
    branches: wholeRuns,
    questions: [],
    protocol: { predictions: [], seeds: [seed], capacity, arms: {} },
    capacity: fairRule(
      candidates.map(({ config }) => config),
      capacity,
    ),
    intervals,
    sweeps: [],
    pilot: null,
    cells: candidates.map(({ name, config }) => rungCell(name, seed, config, rungs[0]?.steps ?? 1, 0)),
    search: plan,
  }
}

/** @throws UsageError if a trial would not be shorter than a run of its arm, or a confirming seed is in use */
function sweepsOf(
  { tune, seeds }: Specification,
  names: readonly string[],
  configs: ReadonlyMap<string, RunConfig>,
): Sweep[] {
  if (tune === undefined) return []
  const confirm = confirmingSeeds(tune, seeds)
  const rates = tune.rates.toSorted((a, b) => a - b)
  return names.map((arm) => {
    const config = configs.get(arm) as RunConfig
    const own = config.train.steps
    const steps = tune.steps < 1 ? Math.max(1, Math.round(tune.steps * own)) : tune.steps
    if (steps >= own)
      throw new UsageError(
        `invalid tune.steps: ${tune.steps} (arm "${arm}" trains ${own} steps; expected fewer, or a share below 1)`,
      )
    return { arm, config, steps, rates, seeds: tune.seeds, confirm, margin: tune.margin }
  })
}

/**
 * The default seed of confirming runs, if it is free. It is far from the seeds that people use, so that more seeds in a
 * study do not change which runs confirm its rates.
 */
const CONFIRMING_SEED = 100

function confirmingSeeds(
  { confirm, seeds: ofTrials }: NonNullable<Specification['tune']>,
  seeds: readonly number[],
): readonly number[] {
  const used = new Set([...seeds, ...ofTrials])
  const taken = confirm?.find((seed) => used.has(seed))
  if (taken !== undefined)
    throw new UsageError(
      `invalid tune.confirm: ${taken} is also in ${seeds.includes(taken) ? 'seeds' : 'tune.seeds'} ` +
        '(expected other seeds: an arm must not be compared on the runs that its rate was chosen by)',
    )
  let free = CONFIRMING_SEED
  while (used.has(free)) free++
  return confirm ?? [free]
}

function pilotOf(
  given: Specification['pilot'],
  questions: readonly Question[],
  names: readonly string[],
  configs: ReadonlyMap<string, RunConfig>,
): Contrast | null {
  if (given === undefined) return questions[0]?.contrasts[0] ?? null
  const [baseline, arm] = given
  for (const name of given) requireArm(name, names, 'pilot')
  requireComparable(baseline, arm, configs, 'pilot')
  return { baseline, arm }
}

function problemList(problems: readonly string[]): string {
  const shown = problems.slice(0, 10)
  const rest = problems.length > shown.length ? `\n  and ${problems.length - shown.length} more` : ''
  return `invalid study:\n  ${shown.join('\n  ')}${rest}`
}
