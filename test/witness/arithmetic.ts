/**
 * The arithmetic that a textbook takes for granted: matrices as arrays of rows, in float64.
 *
 * Think of a matrix as `number[][]`, one array a row. Every index goes through `at` or `rowOf`, which
 * refuse to read past an end: a witness that quietly computes with `undefined` proves nothing.
 */

export type Vector = readonly number[]
export type Matrix = readonly Vector[]

/** Element i. @throws when i is outside the vector. */
export function at(vector: ArrayLike<number>, i: number): number {
  const value = vector[i]
  if (value === undefined) throw new Error(`internal: no element ${i} in a vector of ${vector.length}`)
  return value
}

/** Row i of a matrix, or entry i of any list. @throws when i is outside it. */
export function rowOf<Row>(rows: readonly Row[], i: number): Row {
  const row = rows[i]
  if (row === undefined) throw new Error(`internal: no row ${i} in ${rows.length} rows`)
  return row
}

export function sum(values: Vector): number {
  let total = 0
  for (const value of values) total += value
  return total
}

export function mean(values: Vector): number {
  return sum(values) / values.length
}

/** x·W for one row x [I] and W [I, O]: y[o] = Σ_i x[i] W[i, o]. */
export function project(x: Vector, weight: Matrix): number[] {
  if (x.length !== weight.length) throw new Error(`internal: ${x.length} inputs for ${weight.length} weight rows`)
  const outputs = rowOf(weight, 0).length
  const y: number[] = []
  for (let o = 0; o < outputs; o++) {
    let total = 0
    for (let i = 0; i < x.length; i++) total += at(x, i) * at(rowOf(weight, i), o)
    y.push(total)
  }
  return y
}

export function dot(a: Vector, b: Vector): number {
  if (a.length !== b.length) throw new Error(`internal: dot of ${a.length} and ${b.length} elements`)
  let total = 0
  for (let i = 0; i < a.length; i++) total += at(a, i) * at(b, i)
  return total
}

export function add(a: Vector, b: Vector): number[] {
  if (a.length !== b.length) throw new Error(`internal: sum of ${a.length} and ${b.length} elements`)
  return a.map((value, i) => value + at(b, i))
}

/** ln Σ exp(x_i), shifted by the maximum to avoid overflow. */
export function logSumExp(x: Vector): number {
  const maximum = Math.max(...x)
  return maximum + Math.log(sum(x.map((value) => Math.exp(value - maximum))))
}

/** exp(x_i) / Σ exp(x_j), shifted by the maximum to avoid overflow. */
export function softmax(x: Vector): number[] {
  const maximum = Math.max(...x)
  const exponentials = x.map((value) => Math.exp(value - maximum))
  const total = sum(exponentials)
  return exponentials.map((value) => value / total)
}

/**
 * The error function to about 1e-15. Near 0, the series of positive terms of Abramowitz and Stegun 7.1.6,
 * erf(x) = 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)); beyond, 1 − erfc by the continued fraction 7.1.14.
 */
export function erf(x: number): number {
  if (x < 0) return -erf(-x)
  if (x < 2.5) {
    let term = x
    let series = 0
    for (let n = 0; series + term !== series; n++) {
      series += term
      term *= (2 * x * x) / (2 * n + 3)
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * series
  }
  let tail = x
  for (let n = 100; n >= 1; n--) tail = x + n / 2 / tail
  return 1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail)
}

/** x·Φ(x), with Φ the normal distribution function (Hendrycks and Gimpel, the exact form). */
export function gelu(x: number): number {
  return (x / 2) * (1 + erf(x / Math.SQRT2))
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x))
}

/** x·σ(x), also called swish. */
export function silu(x: number): number {
  return x * sigmoid(x)
}
