/**
 * Ratios of two measurements that know nothing of each other: a speed-up in steps is measured over seeds,
 * the ratio of step times over turns, and a speed-up in time is the one over the other. Its interval holds
 * what both leave open.
 */
import tCdf from '@stdlib/stats-base-dists-t-cdf'
import tQuantile from '@stdlib/stats-base-dists-t-quantile'
import { type Estimate, mean, standardDeviation } from '../statistics.ts'

/**
 * The geometric mean of `over` divided by that of `under`. Variances of the means of logarithms add up;
 * degrees of freedom by Welch and Satterthwaite. No interval where one of the two was measured once; null
 * where one was not measured, or is not positive.
 */
export function quotientOf(over: readonly number[], under: readonly number[]): Estimate | null {
  if ([...over, ...under].some((ratio) => !(ratio > 0 && ratio < Infinity))) return null
  const [above, below] = [logs(over), logs(under)]
  if (above === null || below === null) return null
  const difference = above.mean - below.mean
  const estimate = { n: over.length, mean: Math.exp(difference), interval: null, p: null }
  if (above.variance === null || below.variance === null) return estimate
  const variance = above.variance + below.variance
  if (variance === 0) return { ...estimate, interval: [estimate.mean, estimate.mean], p: difference === 0 ? 1 : 0 }
  const freedom = variance ** 2 / (above.variance ** 2 / (over.length - 1) + below.variance ** 2 / (under.length - 1))
  const error = Math.sqrt(variance)
  const half = tQuantile(0.975, freedom) * error
  return {
    ...estimate,
    interval: [Math.exp(difference - half), Math.exp(difference + half)],
    p: Math.min(1, 2 * tCdf(-Math.abs(difference) / error, freedom)),
  }
}

/** Mean of the logarithms, and the variance of that mean; null for a single one. */
function logs(ratios: readonly number[]): { readonly mean: number; readonly variance: number | null } | null {
  const values = ratios.map(Math.log)
  const [middle, sd] = [mean(values), standardDeviation(values)]
  return middle === null ? null : { mean: middle, variance: sd === null ? null : sd ** 2 / values.length }
}
