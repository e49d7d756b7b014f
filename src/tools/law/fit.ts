/**
 * Fits a law to observations. It minimizes the sum of a robust loss (Huber's) over residuals of logarithms of the loss,
 * from many starts, as Ludziejewski et al. (2025, appendix B) did.
 *
 * A study has few sizes, so it does not determine some coefficients: with two sizes, a, α and c can compensate each
 * other. Predictions matter here and not coefficients, so every coefficient has a weak prior, and *forms* of the law
 * with fewer coefficients are tried too.
 */
import {
  centred,
  coefficientsOf,
  type FittedName,
  type Form,
  fittedNames,
  logLosses,
  numbersOf,
} from './centred-law.ts'
import type { Coefficients, Point } from './joint-law.ts'
import { leastSquares, type Sloped, type Solution } from './least-squares.ts'
import { mean, type Observation, type Observations } from './observations.ts'

export const forms: readonly Form[] = [
  ...(['none', 'start', 'both'] as const).flatMap((transform) =>
    [false, true].flatMap((gamma) => [false, true].map((zeta) => ({ gamma, zeta, transform }))),
  ),
  ...(['gain', 'limited'] as const).map((transform) => ({ gamma: false, zeta: false, transform })),
]

/** Number of coefficients that a form fits. */
export const countOf = (form: Form): number => numbersOf(form).length

const STARTS = 6
/** Numbers of iterations from every start, and from the best solution of these. */
const [ROUGH, FINE] = [20, 150]
const primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]
/** Huber's threshold in units of the scale of residuals: the fit is 95 % efficient if residuals are normal. */
const HUBER = 1.345
/** Weight of dense losses. They count less than differences to them, in which the noise that all arms share cancels. */
const DENSE_WEIGHT = 0.3
/** Scale of residuals in the logarithm of a loss: about 0.002 nats a token at a loss of 3. */
const SCALE = 0.0007

/**
 * The best fit of many starts. A fit without some of the observations must begin from these starts too, and not from
 * the solution of all observations: it would stay in a local minimum that the observations which it leaves out chose.
 */
export function fitForm(form: Form, observations: Observations): Coefficients {
  const starts = Array.from({ length: STARTS }, (_, i) =>
    priorsOf(observations).map(({ mean, deviation }, j) =>
      i === 0 ? mean : mean + deviation * 2 * (halton(i, primes[j] ?? 2) - 0.5),
    ),
  )
  const centre = centreOf(observations)
  const rough = starts.map((start) => fitFrom(form, observations, centre, start, ROUGH))
  const best = rough.reduce((one, other) => (other.cost < one.cost ? other : one))
  const { x } = fitFrom(form, observations, centre, best.x, FINE)
  return coefficientsOf(form, x, centre)
}

/** The best fit near a start. Only the numbers of the form move. */
function fitFrom(
  form: Form,
  observations: Observations,
  centre: Point,
  start: readonly number[],
  iterations: number,
): Solution {
  const places = numbersOf(form)
  const priors = priorsOf(observations)
  const most = Math.max(...observations.arms.map(({ seeds }) => seeds))
  const all = [...observations.dense, ...observations.arms]
  const weights = all.map(
    ({ experts, seeds }) => ((experts === 1 ? DENSE_WEIGHT : 1) * Math.sqrt(seeds / most)) / SCALE,
  )
  const losses = logLosses(
    form,
    all.map((point) => centred(point, centre)),
  )
  const whole = (x: readonly number[]) => x.reduce((all, value, i) => all.with(places[i] ?? 0, value), start)
  const residuals = (x: readonly number[]): Sloped[] => [
    ...losses(whole(x)).map(({ value, slopes }, i) => {
      const weight = weights[i] ?? 0
      const { value: loss, slope } = huber((value - (all[i]?.log ?? 0)) * weight)
      return { value: loss, slopes: places.map((place) => (slopes[place] ?? 0) * weight * slope) }
    }),
    ...places.map((place, i) => {
      const { mean, deviation } = priors[place] as Prior
      return { value: ((x[i] ?? 0) - mean) / deviation, slopes: places.map((_, j) => (i === j ? 1 / deviation : 0)) }
    }),
  ]
  const from = places.map((place) => start[place] ?? 0)
  const { x, cost } = leastSquares(residuals, from, iterations)
  return { x: whole(x), cost }
}

/** A residual whose square is Huber's loss, quadratic near zero and linear beyond, and its derivative. */
function huber(residual: number): { readonly value: number; readonly slope: number } {
  const size = Math.abs(residual)
  if (size <= HUBER) return { value: residual, slope: 1 }
  const value = Math.sign(residual) * Math.sqrt(HUBER * (2 * size - HUBER))
  return { value, slope: HUBER / Math.abs(value) }
}

interface Prior {
  readonly mean: number
  readonly deviation: number
}

/**
 * Priors of the fitted numbers, in their order. They are around the published exponents, and so wide that they hardly
 * move a number that observations determine.
 */
function priorsOf({ dense }: Observations): Prior[] {
  const losses = dense.map(({ log }) => Math.exp(log))
  const term = { mean: Math.log(Math.max(...losses) / 4), deviation: 1 }
  const exponent = { mean: Math.log(0.25), deviation: 0.6 }
  const priors: Readonly<Record<FittedName, Prior>> = {
    a: term,
    alpha: exponent,
    b: term,
    beta: exponent,
    c: { mean: Math.log(Math.min(...losses) / 2), deviation: 0.7 },
    delta: { mean: 0, deviation: 0.4 },
    omega: { mean: 0, deviation: 0.4 },
    gamma: { mean: 0, deviation: 0.05 },
    zeta: { mean: 0, deviation: 0.05 },
    start: { mean: Math.log(2), deviation: 0.7 },
    max: { mean: Math.log(200), deviation: 1.5 },
    kappa: { mean: Math.log(0.02), deviation: 1 },
    nu: { mean: -0.2, deviation: 0.3 },
    onset: { mean: -1, deviation: 1 },
    share: { mean: Math.log(200), deviation: 1.5 },
  }
  return fittedNames.map((name) => priors[name])
}

/** Geometric means of active parameters and tokens. */
function centreOf({ dense }: Observations): Point {
  const middle = (of: (one: Observation) => number) => Math.exp(mean(dense.map((one) => Math.log(of(one)))))
  return { active: middle(({ active }) => active), tokens: middle(({ tokens }) => tokens), experts: 1 }
}

/** The i-th number of Halton's sequence in (0, 1), i from 1: such points fill a space more evenly than random ones. */
function halton(i: number, base: number): number {
  let [value, part] = [0, 1]
  for (let rest = i; rest > 0; rest = Math.floor(rest / base)) {
    part /= base
    value += part * (rest % base)
  }
  return value
}
