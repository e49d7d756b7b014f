/**
 * Fits the constants to published step times, by damped Gauss-Newton steps on the logarithms of the constants. The loss
 * adds up the squared logarithms of predicted over published times, and of constants over their priors.
 *
 * A system of n rows weighs √n, not n: its rows share errors. Rows that are off by more than `OUTLIER` pull with a
 * constant force (Huber's loss), so that one badly described measurement does not spoil the others.
 */
import {
  type ConstantName,
  type Constants,
  constantNames,
  type EfficiencyFamily,
  efficiencyFamilies,
} from '../../../src/tools/plan/inputs/constants.ts'

interface Prior {
  readonly value: number
  /** Standard deviation of the logarithm. */
  readonly deviation: number
  readonly most?: number
}

/** A measured step time, and its prediction from given constants. */
export interface FitRow {
  readonly system: string
  readonly seconds: number
  predict(constants: Constants): number
}

/** Priors: values before any measurement. They are orders of magnitude, from vendors' benchmarks of single kernels. */
const priors: Readonly<Record<ConstantName, Prior>> = {
  // The efficiency of a family is drawn towards the efficiency `any`, with this deviation.
  ...(Object.fromEntries(efficiencyFamilies.map((name) => [name, { value: 0.75, deviation: 0.2, most: 1 }])) as Record<
    EfficiencyFamily,
    Prior
  >),
  any: { value: 0.75, deviation: 0.2, most: 1 },
  pad: { value: 224, deviation: 0.3 },
  bandwidth: { value: 0.8, deviation: 0.2, most: 1 },
  attention: { value: 0.45, deviation: 0.3, most: 1 },
  launch: { value: 1e-5, deviation: 0.7 },
  float8: { value: 0.8, deviation: 0.2, most: 1 },
  dispatch: { value: 0.8, deviation: 0.4, most: 1 },
}

const OUTLIER = 0.25
/** Standard deviation of residuals. A constant that is one deviation off its prior weighs as much as this residual. */
const NOISE = 0.15
const ITERATIONS = 12

export function fitConstants(rows: readonly FitRow[], start: Constants = priorConstants()): Constants {
  const sizes = new Map<string, number>()
  for (const { system } of rows) sizes.set(system, (sizes.get(system) ?? 0) + 1)
  const weights = rows.map(({ system }) => (sizes.get(system) ?? 1) ** -0.5)
  let values = toLogarithms(start)
  let residuals = residualsOf(rows, values)
  let damping = 1e-3
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const step = gaussNewton(rows, weights, values, residuals, damping)
    const next = limited(values.map((value, i) => value + (step[i] ?? 0)))
    const nextResiduals = residualsOf(rows, next)
    const better = lossOf(weights, next, nextResiduals) < lossOf(weights, values, residuals)
    if (better) {
      const moved = Math.max(...next.map((value, i) => Math.abs(value - (values[i] ?? 0))))
      values = next
      residuals = nextResiduals
      damping /= 4
      if (moved < 3e-3) break
    } else damping *= 10
  }
  return fromLogarithms(values)
}

export const priorConstants = (): Constants => fromLogarithms(constantNames.map((name) => Math.log(priors[name].value)))

const toLogarithms = (constants: Constants): number[] => constantNames.map((name) => Math.log(constants[name]))

const fromLogarithms = (values: readonly number[]): Constants =>
  Object.fromEntries(constantNames.map((name, i) => [name, Math.exp(values[i] ?? 0)])) as Record<ConstantName, number>

const limited = (values: readonly number[]): number[] =>
  values.map((value, i) =>
    Math.min(value, Math.log(priors[constantNames[i] ?? 'any'].most ?? Number.POSITIVE_INFINITY)),
  )

function residualsOf(rows: readonly FitRow[], values: readonly number[]): number[] {
  const constants = fromLogarithms(values)
  return rows.map((row) => Math.log(row.predict(constants) / row.seconds))
}

/** Distances of the constants from their priors, scaled so that they weigh like residuals. */
function priorResiduals(values: readonly number[]): number[] {
  const any = values[constantNames.indexOf('any')] ?? 0
  return constantNames.map((name, i) => {
    const { value, deviation } = priors[name]
    const isFamily = (efficiencyFamilies as readonly string[]).includes(name)
    return ((values[i] ?? 0) - (isFamily ? any : Math.log(value))) * (NOISE / deviation)
  })
}

const huber = (residual: number): number =>
  Math.abs(residual) <= OUTLIER ? residual ** 2 : OUTLIER * (2 * Math.abs(residual) - OUTLIER)

const lossOf = (weights: readonly number[], values: readonly number[], residuals: readonly number[]): number =>
  residuals.reduce((sum, residual, i) => sum + (weights[i] ?? 0) * huber(residual), 0) +
  priorResiduals(values).reduce((sum, residual) => sum + residual ** 2, 0)

/**
 * The step that would lead to the minimum of the loss if predictions were linear in the logarithms of the constants.
 */
function gaussNewton(
  rows: readonly FitRow[],
  weights: readonly number[],
  values: readonly number[],
  residuals: readonly number[],
  damping: number,
): number[] {
  const STEP = 1e-3
  const count = values.length
  const changed = (i: number) => values.map((value, j) => (j === i ? value - STEP : value))
  const slopes = values.map((_, i) =>
    residualsOf(rows, changed(i)).map((each, r) => ((residuals[r] ?? 0) - each) / STEP),
  )
  const prior = priorResiduals(values)
  const priorSlopes = values.map((_, i) => priorResiduals(changed(i)).map((each, r) => ((prior[r] ?? 0) - each) / STEP))
  const matrix = Array.from({ length: count }, () => new Array<number>(count).fill(0))
  const right = new Array<number>(count).fill(0)
  const add = (weight: number, residual: number, slope: (i: number) => number) => {
    for (let i = 0; i < count; i++) {
      right[i] = (right[i] ?? 0) - weight * slope(i) * residual
      const line = matrix[i] ?? []
      for (let j = 0; j < count; j++) line[j] = (line[j] ?? 0) + weight * slope(i) * slope(j)
    }
  }
  for (const [r, residual] of residuals.entries()) {
    const pull = Math.min(1, OUTLIER / Math.max(1e-9, Math.abs(residual)))
    add((weights[r] ?? 0) * pull, residual, (i) => slopes[i]?.[r] ?? 0)
  }
  for (const [r, residual] of prior.entries()) add(1, residual, (i) => priorSlopes[i]?.[r] ?? 0)
  for (let i = 0; i < count; i++) {
    const line = matrix[i] ?? []
    line[i] = (line[i] ?? 0) * (1 + damping)
  }
  return solve(matrix, right)
}

/** Solves matrix · x = right for a positive definite matrix, by elimination. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((line, i) => [...line, right[i] ?? 0])
  const count = rows.length
  for (let i = 0; i < count; i++) {
    const pivot = rows[i] ?? []
    for (let j = i + 1; j < count; j++) {
      const line = rows[j] ?? []
      const factor = (line[i] ?? 0) / (pivot[i] ?? 1)
      for (let k = i; k <= count; k++) line[k] = (line[k] ?? 0) - factor * (pivot[k] ?? 0)
    }
  }
  const x = new Array<number>(count).fill(0)
  for (let i = count - 1; i >= 0; i--) {
    const line = rows[i] ?? []
    const known = x.reduce((sum, value, j) => (j > i ? sum + value * (line[j] ?? 0) : sum), 0)
    x[i] = ((line[count] ?? 0) - known) / (line[i] ?? 1)
  }
  return x
}
