/**
 * Nonlinear least squares by Levenberg and Marquardt's method, with a numeric Jacobian. It suits tens of parameters.
 */

export interface Solution {
  readonly x: readonly number[]
  /** Half the sum of squares. */
  readonly cost: number
}

const STEP = 1e-6

/**
 * A minimum of the sum of squared residuals, near `start`. The cost is infinite if residuals at `start` are not finite.
 */
export function leastSquares(
  residuals: (x: readonly number[]) => readonly number[],
  start: readonly number[],
  iterations: number,
): Solution {
  let x = [...start]
  let at = residuals(x)
  let cost = costOf(at)
  let damping = 1e-2
  for (let iteration = 0; iteration < iterations && Number.isFinite(cost); iteration++) {
    const columns = x.map((value, j) => {
      const moved = residuals(x.with(j, value + STEP))
      return moved.map((after, i) => (after - (at[i] ?? 0)) / STEP)
    })
    const gradient = columns.map((column) => dot(column, at))
    const products = columns.map((one) => columns.map((other) => dot(one, other)))
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

function costOf(residuals: readonly number[]): number {
  const cost = dot(residuals, residuals) / 2
  return Number.isFinite(cost) ? cost : Infinity
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0)
  return sum
}

/** Solves a symmetric positive definite system by Cholesky's decomposition; null if it is not positive definite. */
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
