/**
 * A budget of time chooses the number of seeds. It never chooses the steps: with fewer steps a study answers another
 * question, since arms that learn slowly look worse, while fewer seeds only make its intervals wider.
 */
import type { StudySeconds } from './costs.ts'

/** Fewest seeds that a budget chooses: the interval of a difference needs two. */
const MIN_SEEDS = 2

export interface SeedChoice {
  /** Seconds of wall time. */
  readonly seconds: number
  /** The most seeds that fit, the first ones of the study; null if not even the fewest seeds fit. */
  readonly seeds: number | null
  /** Number of seeds of the study. */
  readonly of: number
  /** Seconds of the chosen seeds, or of the fewest ones if they do not fit; with all runs that sweeps may add. */
  readonly needed: number
  /**
   * If the fewest seeds do not fit: the share of the steps with which they would. It is null if no share would, because
   * starting, evaluations and step timing alone take longer.
   */
  readonly stepsShare: number | null
}

export interface Cost {
  readonly known: StudySeconds
  /** Seconds of the runs that sweeps may add at most; the budget covers them. */
  readonly possible: number
}

/** @param costOf Estimated time of what is left of the study, with its first `seeds` seeds. */
export async function chooseSeeds(
  seconds: number,
  available: number,
  costOf: (seeds: number) => Promise<Cost>,
): Promise<SeedChoice> {
  const fewest = Math.min(MIN_SEEDS, available)
  for (let seeds = available; ; seeds--) {
    const { known, possible } = await costOf(seeds)
    const needed = known.total + possible
    const choice = { seconds, of: available, needed }
    if (needed <= seconds) return { ...choice, seeds, stepsShare: null }
    if (seeds > fewest) continue
    // Of the runs that sweeps may add, training has the same share as of the known ones.
    const training = known.total > 0 ? (known.training * needed) / known.total : 0
    const share = training > 0 ? 1 - (needed - seconds) / training : 0
    return { ...choice, seeds: null, stepsShare: share > 0 ? share : null }
  }
}
