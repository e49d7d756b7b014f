/**
 * The records of a study, found by arm and seed. Everything after this looks at pairs: two finished runs
 * with the same seed and the same text. A run that failed, is missing or has no finite loss is simply
 * not in a pair, so no later step has to think of it.
 */
import type { Cell, Contrast, FinishedRun, Settings, StudyResults, Timing } from '../contract.ts'

export interface Pair {
  readonly seed: number
  readonly baseline: FinishedRun
  readonly arm: FinishedRun
}

export class Runs {
  readonly results: StudyResults
  readonly #finished = new Map<string, FinishedRun[]>()
  readonly #configs = new Map<string, Cell['config']>()

  constructor(results: StudyResults) {
    this.results = results
    for (const { arm, record } of results.cells) {
      if (record === null) continue
      this.#configs.set(arm, record.config)
      if (record.status !== 'finished' || !Number.isFinite(record.heldOut.loss)) continue
      this.#finished.set(arm, [...(this.#finished.get(arm) ?? []), record])
    }
    for (const records of this.#finished.values()) records.sort((a, b) => a.seed - b.seed)
  }

  /** In the order of seeds. */
  finished(arm: string): readonly FinishedRun[] {
    return this.#finished.get(arm) ?? []
  }

  /** Seeds that both finished. Losses a token of different text or tokens cannot be compared. */
  pairs({ baseline, arm }: Contrast): Pair[] {
    return this.#both({ baseline, arm }).filter((pair) => pair.baseline.corpus === pair.arm.corpus)
  }

  /** Pairs that `pairs` leaves out since the two runs saw different text. */
  unlike(contrast: Contrast): number {
    return this.#both(contrast).length - this.pairs(contrast).length
  }

  #both({ baseline, arm }: Contrast): Pair[] {
    const others = new Map(this.finished(baseline).map((run) => [run.seed, run]))
    return this.finished(arm).flatMap((run) => {
      const other = others.get(run.seed)
      return other ? [{ seed: run.seed, baseline: other, arm: run }] : []
    })
  }

  timing(arm: string): Timing | null {
    return this.results.timings.find((timing) => timing.arm === arm && Number.isFinite(timing.stepMs)) ?? null
  }

  /** A value of an arm's configuration: as the study sets it, else as one of its runs had it. */
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
    return valueAt(this.#configs.get(arm), parts)
  }

  /** `fallback` when it is not known. */
  numberSetting(arm: string, path: string, fallback: number): number {
    const value = this.setting(arm, path)
    return typeof value === 'number' ? value : fallback
  }

  wordSetting(arm: string, path: string, fallback: string): string {
    const value = this.setting(arm, path)
    return typeof value === 'string' ? value : fallback
  }
}

/** Arms in the order in which contrasts name them, each once, a baseline before its arms. */
export function armsOf(contrasts: readonly Contrast[]): string[] {
  return [...new Set(contrasts.flatMap(({ baseline, arm }) => [baseline, arm]))]
}

/** The baseline of most contrasts. */
export function mainBaseline(contrasts: readonly Contrast[]): string | null {
  const uses = new Map<string, number>()
  for (const { baseline } of contrasts) uses.set(baseline, (uses.get(baseline) ?? 0) + 1)
  return [...uses].toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? null
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (inner, part) =>
      typeof inner === 'object' && inner !== null ? (inner as Readonly<Record<string, unknown>>)[part] : undefined,
    value,
  )
}
