/**
 * Fits a law to observations. It minimizes the sum of a robust loss (Huber's) over residuals of logarithms of the loss,
 * from many starts, as Ludziejewski et al. (2025, appendix B) did.
 *
 * A study has few sizes, so it does not determine some coefficients: with two sizes, a, α and c can compensate each
 * other. Predictions matter here and not coefficients, so every coefficient has a weak prior, and *forms* of the law
 * with fewer coefficients are tried too.
 */
import { type Coefficients, type Point, saturated } from './joint-law.ts'
import { leastSquares, type Solution } from './least-squares.ts'
import { mean, type Observation, type Observations } from './observations.ts'

/** A form of the law: which of the terms that depend on E it has. */
export interface Form {
  /** Whether the exponent of N depends on E (γ). */
  readonly gamma: boolean
  /** Whether the exponent of D depends on E (ζ). */
  readonly zeta: boolean
  /**
   * Transform of E: `none` if Ê = E, `start` if Ê has a start but no maximum, `both` if Ê is as in equation 4. With
   * `gain`, a gain that is never negative replaces all terms of Ê.
   */
  readonly transform: 'none' | 'start' | 'both' | 'gain'
}

export const gainForm: Form = { gamma: false, zeta: false, transform: 'gain' }

export const forms: readonly Form[] = [
  ...(['none', 'start', 'both'] as const).flatMap((transform) =>
    [false, true].flatMap((gamma) => [false, true].map((zeta) => ({ gamma, zeta, transform }))),
  ),
  gainForm,
]

/** Number of coefficients that a form fits. */
export const countOf = ({ gamma, zeta, transform }: Form): number =>
  7 + Number(gamma) + Number(zeta) + { none: 0, start: 1, both: 2, gain: 1 }[transform]

const STARTS = 6
/** Numbers of iterations from every start, and from the best solution of these. */
const [ROUGH, FINE] = [20, 150]
const primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43]
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

function fitFrom(
  form: Form,
  observations: Observations,
  centre: Point,
  start: readonly number[],
  iterations: number,
): Solution {
  const priors = priorsOf(observations)
  const most = Math.max(...observations.arms.map(({ seeds }) => seeds))
  const prepared = [...observations.dense, ...observations.arms].map(({ active, tokens, experts, log, seeds }) => ({
    n: Math.log(active / centre.active),
    d: Math.log(tokens / centre.tokens),
    experts,
    log,
    weight: ((experts === 1 ? DENSE_WEIGHT : 1) * Math.sqrt(seeds / most)) / SCALE,
  }))
  const counts = [...new Set(prepared.map(({ experts }) => experts))]
  const residuals = (x: readonly number[]): number[] => {
    const { a, alpha, b, beta, c, delta, omega, gamma, zeta, transform, kappa, nu, onset } = namesOf(form, x)
    const growth = new Map(counts.map((count) => [count, Math.log(saturated(count, transform) / transform.start)]))
    const data = prepared.map(({ n, d, experts, log, weight }) => {
      const [size, text] = [a * Math.exp(alpha * n), b * Math.exp(beta * d)]
      const dense = size + text + c
      if (experts === 1) return huber((Math.log(dense) - log) * weight)
      const e = growth.get(experts) ?? 0
      const gain = kappa * Math.log(experts) * Math.exp(nu * n) * Math.max(0, d - Math.log(onset))
      const loss = size * Math.exp((delta + gamma * n) * e) + text * Math.exp((omega + zeta * d) * e) + c - gain
      return huber((Math.log(loss / dense) - log) * weight)
    })
    return [...data, ...priors.map(({ mean, deviation }, i) => ((x[i] ?? 0) - mean) / deviation)]
  }
  return leastSquares(residuals, start, iterations)
}

/** A residual whose square is Huber's loss: quadratic near zero, linear beyond. */
function huber(residual: number): number {
  const size = Math.abs(residual)
  return size <= HUBER ? residual : Math.sign(residual) * Math.sqrt(HUBER * (2 * size - HUBER))
}

interface Prior {
  readonly mean: number
  readonly deviation: number
}

/**
 * Priors of the fitted numbers. They are around the published exponents, and so wide that they hardly move a number
 * that observations determine. Order: ln a, ln −α, ln b, ln −β and ln c at the centre of the observations, then δ, ω,
 * γ, ζ, ln start and ln(max − start), and then ln κ, ν and ln onset at the centre.
 */
function priorsOf({ dense }: Observations): Prior[] {
  const [lowest, highest] = [Math.min, Math.max].map((of) => of(...dense.map((one) => Math.exp(one.log)))) as [
    number,
    number,
  ]
  return [
    { mean: Math.log(highest / 4), deviation: 1 },
    { mean: Math.log(0.25), deviation: 0.6 },
    { mean: Math.log(highest / 4), deviation: 1 },
    { mean: Math.log(0.25), deviation: 0.6 },
    { mean: Math.log(lowest / 2), deviation: 0.7 },
    { mean: 0, deviation: 0.4 },
    { mean: 0, deviation: 0.4 },
    { mean: 0, deviation: 0.05 },
    { mean: 0, deviation: 0.05 },
    { mean: Math.log(2), deviation: 0.7 },
    { mean: Math.log(200), deviation: 1.5 },
    { mean: Math.log(0.02), deviation: 1 },
    { mean: -0.2, deviation: 0.3 },
    { mean: -1, deviation: 1 },
  ]
}

/** Geometric means of active parameters and tokens. */
function centreOf({ dense }: Observations): Point {
  const middle = (of: (one: Observation) => number) => Math.exp(mean(dense.map((one) => Math.log(of(one)))))
  return { active: middle(({ active }) => active), tokens: middle(({ tokens }) => tokens), experts: 1 }
}

/**
 * The fitted numbers by name. They describe the law around the centre of the observations and around a dense model,
 * where they hardly compensate each other. With n = ln N and d = ln D relative to the centre and e = ln(Ê/start), the
 * law is a·exp(δe + (α + γe)n) + b·exp(ωe + (β + ζe)d) + c, and e = 0 for a dense model. With a gain, δ and ω are 0.
 */
function namesOf(form: Form, x: readonly number[]) {
  const [a = 0, alpha = 0, b = 0, beta = 0, c = 0, delta = 0, omega = 0, gamma = 0, zeta = 0, start = 0, max = 0] = x
  const [kappa = 0, nu = 0, onset = 0] = x.slice(11)
  const hasGain = form.transform === 'gain'
  return {
    a: Math.exp(a),
    alpha: -Math.exp(alpha),
    b: Math.exp(b),
    beta: -Math.exp(beta),
    c: Math.exp(c),
    delta: hasGain ? 0 : delta,
    omega: hasGain ? 0 : omega,
    gamma: form.gamma ? gamma : 0,
    zeta: form.zeta ? zeta : 0,
    kappa: hasGain ? Math.exp(kappa) : 0,
    nu: hasGain ? nu : 0,
    onset: hasGain ? Math.exp(onset) : 1,
    transform: {
      start: form.transform === 'none' || hasGain ? 1 : Math.exp(start),
      // The fitted number is the excess over the start, so the maximum is always above the start.
      max: form.transform === 'both' ? Math.exp(start) + Math.exp(max) : null,
    },
  }
}

/** The same law in its published form, which has neither a centre nor a dense model as its origin. */
function coefficientsOf(form: Form, x: readonly number[], centre: Point): Coefficients {
  const { a, alpha, b, beta, c, delta, omega, gamma, zeta, transform, kappa, nu, onset } = namesOf(form, x)
  const [n, d, s] = [Math.log(centre.active), Math.log(centre.tokens), Math.log(transform.start)]
  const [power, textPower] = [delta - gamma * n, omega - zeta * d]
  return {
    a: a * Math.exp(-alpha * n - power * s),
    alpha: alpha - gamma * s,
    delta: power,
    gamma,
    b: b * Math.exp(-beta * d - textPower * s),
    beta: beta - zeta * s,
    omega: textPower,
    zeta,
    c,
    ...transform,
    kappa: kappa * Math.exp(-nu * n),
    nu,
    onset: onset * centre.tokens,
  }
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
