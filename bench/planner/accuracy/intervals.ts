/**
 * Intervals of predictions. They are learnt from errors for systems that were left out of the fit: from the
 * distribution of |log(predicted / published)|. Rows of a system share errors, so a system of n rows weighs √n, as in
 * the fit.
 */

/** Error of a prediction: log(predicted / published). */
export interface Residual {
  readonly system: string
  readonly error: number
}

/** Share of cases that intervals should hold. */
const COVERAGE = 0.8

/**
 * The factor q such that published/predicted is between 1/q and q for a share `COVERAGE` of systems like the systems of
 * the residuals. With m systems it is the quantile (m + 1)/m · COVERAGE, as in conformal prediction: the new system is
 * one of m + 1 exchangeable systems.
 */
export function intervalFactor(residuals: readonly Residual[], coverage = COVERAGE): number {
  const sizes = new Map<string, number>()
  for (const { system } of residuals) sizes.set(system, (sizes.get(system) ?? 0) + 1)
  const weighted = residuals
    .map(({ system, error }) => ({ error: Math.abs(error), weight: (sizes.get(system) ?? 1) ** -0.5 }))
    .sort((a, b) => a.error - b.error)
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0)
  const wanted = Math.min(1, (coverage * (sizes.size + 1)) / sizes.size) * total
  let reached = 0
  for (const { error, weight } of weighted) {
    reached += weight
    if (reached >= wanted - 1e-9 * total) return Math.exp(error)
  }
  return Math.exp(weighted.at(-1)?.error ?? 0)
}
