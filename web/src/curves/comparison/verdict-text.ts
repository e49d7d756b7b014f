/** Verdicts on arms in plain sentences, with the numbers of the server. */
import { fixed, grouped, plural, signed } from '../../../../src/core/text/numbers.ts'
import type { DifferenceVerdict } from '../../../../src/faces/watch/api.ts'

interface Named {
  readonly arm: string
  readonly baseline: string
  /** Number of arms that are compared. */
  readonly of: number
  /** Fewest pairs that have an interval. */
  readonly fewest: number
  /** Steps of the training; null if unknown. */
  readonly steps: number | null
}

/**
 * `top-2 is lower than top-1 by 0.021 (0.008 to 0.034), 4 pairs at the last step, 400`. A difference that the correction for several arms does
 * not confirm is only possible; without an interval there is no verdict.
 */
export function verdictText(
  { step, pairs, mean, interval, digits, outcome }: DifferenceVerdict,
  { arm, baseline, of, fewest, steps }: Named,
): string {
  const count = `${plural(pairs, 'pair')} ${stepText(step, steps)}`
  if (interval === null) {
    const found = `${arm} minus ${baseline} is ${signed(mean, digits)} so far`
    return `${found}, with ${count}: ${pairs === 1 ? 'one pair has no interval' : `an interval needs ${fewest}`}`
  }
  if (outcome === 'open') {
    const range = `${signed(interval[0], digits)} to ${signed(interval[1], digits)}`
    return `${arm} and ${baseline} cannot be distinguished yet: ${signed(mean, digits)} (${range}), ${count}`
  }
  const sizes = interval.map(Math.abs).sort((one, other) => one - other)
  const range = sizes.map((size) => fixed(size, digits)).join(' to ')
  const isLower = outcome === 'lower' || outcome === 'maybe-lower'
  const isSure = outcome === 'lower' || outcome === 'higher'
  const verb = `${isSure ? 'is' : 'may be'} ${isLower ? 'lower' : 'higher'} than`
  const sentence = `${arm} ${verb} ${baseline} by ${fixed(Math.abs(mean), digits)} (${range}), ${count}`
  return isSure ? sentence : `${sentence}; of ${of} arms, one may differ so much by chance`
}

/** Where a verdict is in the training: `at the last step, 400`, or `at step 120 of 400`. */
function stepText(step: number, steps: number | null): string {
  if (steps === null) return `at step ${grouped(step)}`
  return step >= steps ? `at the last step, ${grouped(step)}` : `at step ${grouped(step)} of ${grouped(steps)}`
}
