/**
 * Nonlinear least squares by Levenberg and Marquardt's method. It suits tens of parameters.
 */

/** A number that depends on parameters. */
export interface Sloped {
  readonly value: number
  /** Derivatives by each parameter. */
  readonly slopes: readonly number[]
}

export interface Solution {
  readonly x: readonly number[]
  /** Half the sum of squares. */
  readonly cost: number
}

const STEP = 1e-6

/** Residuals with derivatives by differences, for functions that have no formula for them. */
export const numerically =
  (residuals: (x: readonly number[]) => readonly number[]) =>
  (x: readonly number[]): Sloped[] => {
    const moved = x.map((value, j) => residuals(x.with(j, value + STEP)))
    return residuals(x).map((value, i) => ({ value, slopes: moved.map((after) => ((after[i] ?? 0) - value) / STEP) }))
  }

/**
 * A minimum of the sum of squared residuals, near `start`. The cost is infinite if residuals at `start` are not finite.
 */
export function leastSquares(
  residuals: (x: readonly number[]) => readonly Sloped[],
  start: readonly number[],
  iterations: number,
): Solution {
  let x = [...start]
  let at = residuals(x)
  let cost = costOf(at)
  let damping = 1e-2
  for (let iteration = 0; iteration < iterations && Number.isFinite(cost); iteration++) {
    const { gradient, products } = normalEquations(at, x.length)
    let improved = 0
    while (damping < 1e10) {
      const step = solve(
        products.map((row, i) => row.map((value, j) => (i === j ? value * (1 + damping) + 1e-12 : value))),
        gradient,
      )
      const next = x.map((value, j) => value - (step?.[j] ?? 0))
      const found = residuals(next)
      const lower = costOf(found)
      if (step && lower < cost) {
        improved = (cost - lower) / cost
        ;[x, at, cost] = [next, found, lower]
        damping = Math.max(damping / 5, 1e-9)
        break
      }
      damping *= 4
    }
    if (improved < 1e-6) break
  }
  return { x, cost }
}

function costOf(residuals: readonly Sloped[]): number {
  const cost = residuals.reduce((sum, { value }) => sum + value * value, 0) / 2
  return Number.isFinite(cost) ? cost : Infinity
}

/** Products of the derivatives with the residuals, and with each other: the lower triangle. */
function normalEquations(residuals: readonly Sloped[], count: number) {
  const gradient: number[] = new Array(count).fill(0)
  const products = gradient.map((_, i): number[] => new Array(i + 1).fill(0))
  for (const { value, slopes } of residuals) {
    for (const [i, row] of products.entries()) {
      const slope = slopes[i] as number
      if (slope === 0) continue
      ;(gradient[i] as number) += slope * value
      for (let j = 0; j <= i; j++) (row[j] as number) += slope * (slopes[j] as number)
    }
  }
  return { gradient, products }
}

/**
 * Solves a symmetric positive definite system, given its lower triangle, by Cholesky's decomposition; null if it is not
 * positive definite.
 */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] | null {
  const n = right.length
  const lower: number[][] = []
  for (let i = 0; i < n; i++) {
    const row: number[] = []
    for (let j = 0; j <= i; j++) {
      const above = lower[j] ?? row
      let sum = matrix[i]?.[j] ?? 0
      for (let k = 0; k < j; k++) sum -= (row[k] ?? 0) * (above[k] ?? 0)
      if (i === j && !(sum > 0)) return null
      row.push(i === j ? Math.sqrt(sum) : sum / (above[j] ?? 1))
    }
    lower.push(row)
  }
  const x = [...right]
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] = (x[i] ?? 0) - (lower[i]?.[k] ?? 0) * (x[k] ?? 0)
    x[i] = (x[i] ?? 0) / (lower[i]?.[i] ?? 1)
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] = (x[i] ?? 0) - (lower[k]?.[i] ?? 0) * (x[k] ?? 0)
    x[i] = (x[i] ?? 0) / (lower[i]?.[i] ?? 1)
  }
  return x
}
