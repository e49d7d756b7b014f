/** Fits constants to measurements by coordinate descent. */

/**
 * Changes one number at a time, by shrinking factors, while the loss falls. Numbers stay positive and at most
 * `limits`.
 */
export function descend(
  start: readonly number[],
  limits: readonly number[],
  loss: (values: readonly number[]) => number,
): number[] {
  let best = [...start]
  let minLoss = loss(best)
  for (let factor = 2; factor > 1.005; factor = 1 + (factor - 1) * 0.7)
    for (let improved = true, rounds = 0; improved && rounds < 50; rounds++) {
      improved = false
      for (let i = 0; i < best.length; i++)
        for (const by of [factor, 1 / factor]) {
          const changed = best.map((value, j) => (j === i ? Math.min(value * by, limits[i] ?? Infinity) : value))
          const error = loss(changed)
          if (error < minLoss - 1e-12) {
            best = changed
            minLoss = error
            improved = true
          }
        }
    }
  return best
}

/** Mean squared logarithm of predicted over measured, for which twice as much and half as much are equal errors. */
export function logError(pairs: readonly (readonly [predicted: number, measured: number])[]): number {
  return pairs.reduce((sum, [predicted, measured]) => sum + Math.log(predicted / measured) ** 2, 0) / pairs.length
}
