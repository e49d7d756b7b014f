/**
 * The records of a study by arm and seed, on one *basis*: the learning rate of the arms, the capacity at which they are
 * evaluated and, in a study with branches, the length of training. A run that failed, is missing or has no finite loss is
 * in no pair, so later steps need not check for it. Arms that cannot be compared at that capacity are read without a
 * limit: see `fairRule`.
 */
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { hasOwnPart } from '../../../train/measure/leak.ts'
import type { CapacityEvaluation } from '../../../train/step/metrics/records.ts'
import type { Cell, Contrast, FinishedRun, Rate, StudyResults, Timing } from '../contract.ts'
import { valueAt } from '../grid/settings.ts'
import { atCapacity, fairRule } from '../held-out.ts'
import type { Settings } from '../specification.ts'
import { type Intervals, mean } from '../statistics.ts'

export interface Pair {
  readonly seed: number
  readonly baseline: FinishedRun
  readonly arm: FinishedRun
}

export interface Basis {
  /** With `best`, an arm is read at its best rate if it has runs at that rate, that is, if the rate is confirmed. */
  readonly rate: Rate
  readonly capacity: CapacityRule
  /** Share of the steps of an arm; answers rest on whole runs, 1. */
  readonly share: number
}

/** Verdicts use the best rate of each arm if there was a sweep, and the capacity rule of the study. */
const defaultBasis = ({ tuning, capacity }: StudyResults): Basis => ({
  rate: tuning.length > 0 ? 'best' : 'common',
  capacity,
  share: 1,
})

export class Runs {
  readonly results: StudyResults
  readonly basis: Basis
  private readonly byArm = new Map<string, FinishedRun[]>()
  private readonly configs = new Map<string, Cell['config']>()
  /** Arms with runs on this basis that are still to be done. */
  private readonly waiting = new Set<string>()
  private readonly byBasis = new Map<string, Runs>()

  constructor(results: StudyResults, basis: Basis = defaultBasis(results)) {
    this.results = results
    this.basis = basis
    const cells = results.cells.filter(({ share = 1 }) => share === basis.share)
    const atBest = basis.rate === 'best' ? cells.filter(({ rate }) => rate === 'best') : []
    const planned = new Set(atBest.map(({ arm }) => arm))
    const tuned = new Set(atBest.filter(({ record }) => record).map(({ arm }) => arm))
    for (const { arm, rate, record } of cells) {
      // An arm waits for its runs at the best rate also while it is read at the common one, because it has none of them.
      if (record === null && rate === (planned.has(arm) ? 'best' : 'common')) this.waiting.add(arm)
      if (record === null || rate !== (tuned.has(arm) ? 'best' : 'common')) continue
      this.configs.set(arm, record.config)
      const run = record.status === 'finished' ? atCapacity(record, basis.capacity) : null
      if (run === null || !Number.isFinite(this.lossOf(run))) continue
      this.byArm.set(arm, [...(this.byArm.get(arm) ?? []), run])
    }
    // Whole runs have yet to confirm the best rate of an arm, and may ask for runs at that rate.
    if (basis.rate === 'best')
      for (const { arm, confirmed } of results.tuning) if (confirmed === null) this.waiting.add(arm)
    for (const records of this.byArm.values()) records.sort((a, b) => a.seed - b.seed)
  }

  /** The same results on another basis. */
  withBasis(basis: Partial<Basis>): Runs {
    const wanted = { ...this.basis, ...basis }
    const keyOf = ({ rate, capacity, share }: Basis) => `${rate} ${capacity} ${share}`
    const key = keyOf(wanted)
    if (key === keyOf(this.basis)) return this
    const runs = this.byBasis.get(key) ?? new Runs(this.results, wanted)
    this.byBasis.set(key, runs)
    return runs
  }

  /** Shares of the steps of an arm at which its runs end, rising; only 1 without branches. */
  get shares(): number[] {
    return [...new Set(this.results.cells.map(({ share = 1 }) => share))].sort((a, b) => a - b)
  }

  /** The same results on a basis on which these arms may be compared. */
  comparing(arms: readonly string[]): Runs {
    const configs = arms.flatMap((arm) => this.configs.get(arm) ?? [])
    return this.withBasis({ capacity: fairRule(configs, this.basis.capacity) })
  }

  /**
   * The intervals over seeds of a number about these arms. While runs of an arm are still to be done, somebody may stop
   * the study because of what the report shows, so its intervals hold at every look: see `anytime.ts`. A study may ask
   * for them also when it is complete.
   */
  intervalsFor(arms: readonly string[]): Intervals {
    const { intervals = 'student' } = this.results
    return arms.some((arm) => this.waiting.has(arm)) ? 'anytime' : intervals
  }

  /** The final evaluation on held-out text: `run` has the one at the capacity of the `Runs` that it was read from. */
  evaluationOf({ heldOut }: FinishedRun): CapacityEvaluation {
    return heldOut
  }

  /** The final held-out loss, nats a token. */
  lossOf(run: FinishedRun): number {
    return this.evaluationOf(run).loss
  }

  /** Nats a token that an arm gains from later tokens at this capacity, mean over its runs; null if it sees none. */
  leakOf(arm: string): number | null {
    const { capacity } = this.basis
    const gains = this.finished(arm).flatMap(({ leak, config }) => {
      // Built-in routers see no later token without capacity; a part of the user's own may.
      if (capacity === 'none') return hasOwnPart(config.model) ? (leak.eval ?? []) : []
      return leak[capacity] ?? []
    })
    return mean(gains)
  }

  /** Whether an arm is compared without a capacity limit, though the basis has one. */
  isUnlimited(arm: string): boolean {
    return this.comparing([arm]) !== this
  }

  /** The name of an arm in tables and figures, with † if it sees later tokens, and ¶ if it is compared without a limit. */
  label(arm: string): string {
    return [arm, ...this.marksOf(arm)].join(' ')
  }

  marksOf(arm: string): ('†' | '¶')[] {
    return [...(this.leakOf(arm) === null ? [] : (['†'] as const)), ...(this.isUnlimited(arm) ? (['¶'] as const) : [])]
  }

  /** Finished runs of an arm, sorted by seed. */
  finished(arm: string): readonly FinishedRun[] {
    return this.byArm.get(arm) ?? []
  }

  /** One pair for each seed that both arms finished on the same text and tokens; other losses cannot be compared. */
  pairs({ baseline, arm }: Contrast): Pair[] {
    return this.allPairs({ baseline, arm }).filter((pair) => pair.baseline.corpus === pair.arm.corpus)
  }

  /** Arm minus baseline for each pair, nats a token. @param seeds Seeds that are used; default: all. */
  differences(contrast: Contrast, seeds?: readonly number[]): number[] {
    const pairs = this.pairs(contrast).filter(({ seed }) => seeds?.includes(seed) ?? true)
    return pairs.map(({ arm, baseline }) => this.lossOf(arm) - this.lossOf(baseline))
  }

  /** Number of pairs that {@link pairs} omits because the two runs saw different text. */
  countMismatched(contrast: Contrast): number {
    return this.allPairs(contrast).length - this.pairs(contrast).length
  }

  private allPairs({ baseline, arm }: Contrast): Pair[] {
    const runs = this.comparing([baseline, arm])
    const baselines = new Map(runs.finished(baseline).map((run) => [run.seed, run]))
    return runs.finished(arm).flatMap((run) => {
      const paired = baselines.get(run.seed)
      return paired ? [{ seed: run.seed, baseline: paired, arm: run }] : []
    })
  }

  timing(arm: string): Timing | null {
    return this.results.timings.find((timing) => timing.arm === arm && Number.isFinite(timing.stepMs)) ?? null
  }

  /** A value of an arm's configuration: from the settings of the study, otherwise from one of its runs. */
  setting(arm: string, path: string): unknown {
    const settings: Settings = this.results.arms[arm] ?? {}
    if (path in settings) return settings[path]
    const parts = path.split('.')
    for (let length = parts.length - 1; length > 0; length--) {
      const prefix = parts.slice(0, length).join('.')
      if (prefix in settings && settings[prefix] === null) return undefined
      const inner = prefix in settings ? valueAt(settings[prefix], parts.slice(length)) : undefined
      if (inner !== undefined) return inner
    }
    return valueAt(this.configs.get(arm), parts)
  }

  /** The value of a setting if it is a number, otherwise `fallback`. */
  numberSetting(arm: string, path: string, fallback: number): number {
    const value = this.setting(arm, path)
    return typeof value === 'number' ? value : fallback
  }

  stringSetting(arm: string, path: string, fallback: string): string {
    const value = this.setting(arm, path)
    return typeof value === 'string' ? value : fallback
  }
}

/** Distinct arms in the order of the contrasts, a baseline before its arms. */
export function armsOf(contrasts: readonly Contrast[]): string[] {
  return [...new Set(contrasts.flatMap(({ baseline, arm }) => [baseline, arm]))]
}

/** The most frequent baseline. */
export function mainBaseline(contrasts: readonly Contrast[]): string | null {
  const uses = new Map<string, number>()
  for (const { baseline } of contrasts) uses.set(baseline, (uses.get(baseline) ?? 0) + 1)
  return [...uses].toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? null
}
