/** Ratios of step times. Arms take turns, so the times of a turn are a pair: a slow phase of the machine slows both. */
import { type Estimate, estimateRatio } from '../statistics.ts'
import type { Runs } from './runs.ts'

/** The ratio of step times, arm over baseline; null if one of the two was not timed. */
export function timeRatio(runs: Runs, baseline: string, arm: string): Estimate | null {
  const ratios = timeRatios(runs, baseline, arm)
  return ratios === null ? null : estimateRatio(ratios)
}

/** One ratio per turn, or only the ratio of medians if turns cannot be paired; null if an arm was not timed. */
export function timeRatios(runs: Runs, baseline: string, arm: string): readonly number[] | null {
  const [below, above] = [runs.timing(baseline), runs.timing(arm)]
  if (below === null || above === null) return null
  if (below.turnsMs.length === above.turnsMs.length && above.turnsMs.length > 0) {
    const ratios = above.turnsMs.map((ms, turn) => ms / (below.turnsMs[turn] ?? 0))
    if (estimateRatio(ratios) !== null) return ratios
  }
  return [above.stepMs / below.stepMs]
}
