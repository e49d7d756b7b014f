/**
 * Intervals that may be looked at any number of times. Student's interval is right for a number of seeds that is fixed in
 * advance. A study that looks after every seed, and stops as soon as the interval excludes zero, finds differences that
 * are not there far more often than in 5 % of cases. The intervals of this file contain the true mean at all numbers of
 * seeds at once with a probability of 95 %, so one may look after every seed, stop at any of them, or add seeds.
 *
 * They follow the test of Lai (1976, On confidence sequences, Annals of Statistics 4) for normal differences of unknown
 * variance, with the normal mixture of Wang and Ramdas (Anytime-valid t-tests and confidence sequences for Gaussian means
 * with unknown variance, arXiv 2310.03722). For a mean that is tested, S and V are the sums of the n differences from it
 * and of their squares. The density of the differences up to their scale, averaged over a normal prior of
 * (true mean)/(standard deviation) with mean 0 and variance 1/c², over the same density for mean 0, is
 *
 *     G = √(c² / (n + c²)) · ( (n + c²)·V / ((n + c²)·V − S²) )^(n/2).
 *
 * If the tested mean is the true one, G is a martingale that begins with 1, so by Ville's inequality the probability that
 * G ever reaches 1/α is at most α. With r = c² / (n + c²) and Student's t, for which S²/V = n·t² / (t² + n − 1),
 *
 *     G = √r · ( (t² + n − 1) / (r·t² + n − 1) )^(n/2),
 *
 * and with k = (α²·r)^(−1/n), G < 1/α is the interval t² < (n − 1)·(k − 1) / (1 − k·r); if k·r ≥ 1, it is the whole line.
 *
 * All of this holds for differences that are independent and normal, and for looks that do not choose seeds by their
 * losses. Seeds that end earlier because their machine is faster are no such choice.
 */

const LEVEL = 0.05

/**
 * The precision c² of the prior: true differences of about 1/c = 3.2 standard deviations of a difference are expected.
 * Among paired losses such differences are common, and 0.1 makes the interval of four seeds the narrowest. With more than
 * 0.158, three seeds would have no interval.
 */
const PRECISION = 0.1

/** The fewest values that have an interval. */
export const MIN_ANYTIME = 3

const shareOf = (n: number): number => PRECISION / (n + PRECISION)

/**
 * Half the width of the 95 % interval in standard errors of the mean, in place of Student's quantile. Infinity for fewer
 * than three values, of which no interval with this guarantee exists.
 * @param n Number of values
 */
export function anytimeQuantile(n: number): number {
  const r = shareOf(n)
  const k = (LEVEL ** 2 * r) ** (-1 / n)
  return n < 2 || k * r >= 1 ? Infinity : Math.sqrt(((n - 1) * (k - 1)) / (1 - k * r))
}

/**
 * The p-value 1/G, at most 1: the probability that it ever falls to a level is at most that level. It is below 0.05
 * exactly if the 95 % interval excludes the tested mean.
 * @param t Distance of the mean from the tested mean, in standard errors
 * @param n Number of values
 */
function anytimeP(t: number, n: number): number {
  const r = shareOf(n)
  // An infinite t, of differences without a spread, has the largest G that n values can have.
  const ratio = Math.abs(t) === Infinity ? 1 / r : (t * t + n - 1) / (r * t * t + n - 1)
  return Math.min(1, ratio ** (-n / 2) / Math.sqrt(r))
}

/**
 * The 95 % interval of a mean of n = freedom + 1 values with a standard error, and the p-value of the mean being zero;
 * `student` (`statistics.ts`) has the same form. Both are null if the values are too few for an interval.
 * @param freedom A fraction, by Welch and Satterthwaite, gives an approximation without the guarantee.
 */
export function anytime(
  value: number,
  error: number | null,
  freedom: number,
): { readonly interval: readonly [low: number, high: number] | null; readonly p: number | null } {
  const quantile = anytimeQuantile(freedom + 1)
  if (error === null || quantile === Infinity) return { interval: null, p: null }
  const half = error === 0 ? 0 : quantile * error
  return { interval: [value - half, value + half], p: value === 0 ? 1 : anytimeP(value / error, freedom + 1) }
}
