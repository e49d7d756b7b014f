/** Ratios of step times. Arms are timed by turns, so turns are pairs: what slows the machine for a while slows both. */
import { type Estimate, estimateRatio } from '../statistics.ts'
import type { Runs } from './runs.ts'

/** Arm over baseline; null when one was not timed. */
export function timeRatio(runs: Runs, baseline: string, arm: string): Estimate | null {
  const ratios = timeRatios(runs, baseline, arm)
  return ratios === null ? null : estimateRatio(ratios)
}

/** A ratio a turn, or that of the medians alone where turns are no pairs; null when one was not timed. */
export function timeRatios(runs: Runs, baseline: string, arm: string): readonly number[] | null {
  const [below, above] = [runs.timing(baseline), runs.timing(arm)]
  if (below === null || above === null) return null
  if (below.turnsMs.length === above.turnsMs.length && above.turnsMs.length > 0) {
    const ratios = above.turnsMs.map((ms, turn) => ms / (below.turnsMs[turn] ?? 0))
    if (estimateRatio(ratios) !== null) return ratios
  }
  return [above.stepMs / below.stepMs]
}
