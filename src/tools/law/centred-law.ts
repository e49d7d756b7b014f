/**
 * A law as a function of the numbers that are fitted. They describe it around the centre of the observations and around a
 * dense model, where they hardly compensate each other. With n = ln N and d = ln D relative to the centre and
 * e = ln(Ê/start), the law is a·exp(δe + (α + γe)n) + b·exp(ωe + (β + ζe)d) + c − κ·g·exp(νn)·max(0, d − ln onset), and
 * e = 0 for a dense model. g is ln E, or ln Ê with the start 1 and the maximum 1 + share·exp(d − n).
 */
import { type Coefficients, type Point, saturated } from './joint-law.ts'
import type { Sloped } from './least-squares.ts'

/** A form of the law: which of the terms that depend on E it has. */
export interface Form {
  /** Whether the exponent of N depends on E (γ). */
  readonly gamma: boolean
  /** Whether the exponent of D depends on E (ζ). */
  readonly zeta: boolean
  /**
   * Transform of E: `none` if Ê = E, `start` if Ê has a start but no maximum, `both` if Ê is as in equation 4. With
   * `gain`, a gain that is never negative replaces all terms of Ê, and with `limited`, Ê replaces E in this gain, with a
   * maximum that grows with the tokens for each active parameter.
   */
  readonly transform: 'none' | 'start' | 'both' | 'gain' | 'limited'
}

/** Whether a form has a gain in place of the terms of Ê. */
export const isGain = ({ transform }: Form): boolean => transform === 'gain' || transform === 'limited'

/**
 * Order of the fitted numbers: ln a, ln −α, ln b, ln −β and ln c at the centre, then δ, ω, γ, ζ, ln start and
 * ln(max − start), and then ln κ, ν, ln onset and ln share at the centre.
 */
export const fittedNames = [
  ...(['a', 'alpha', 'b', 'beta', 'c'] as const),
  ...(['delta', 'omega', 'gamma', 'zeta', 'start', 'max'] as const),
  ...(['kappa', 'nu', 'onset', 'share'] as const),
] as const
export type FittedName = (typeof fittedNames)[number]

/** Places in {@link fittedNames} of the numbers that a form has. The others change nothing. */
export function numbersOf(form: Form): number[] {
  const { gamma, zeta, transform } = form
  const hasGain = isGain(form)
  const has: Readonly<Record<FittedName, boolean>> = {
    ...{ a: true, alpha: true, b: true, beta: true, c: true },
    ...{ delta: !hasGain, omega: !hasGain, gamma, zeta },
    ...{ start: transform === 'start' || transform === 'both', max: transform === 'both' },
    ...{ kappa: hasGain, nu: hasGain, onset: hasGain, share: transform === 'limited' },
  }
  return fittedNames.flatMap((name, i) => (has[name] ? [i] : []))
}

/** The fitted numbers by name, without their logarithms, and 0 or what changes nothing for those that the form lacks. */
function namesOf(form: Form, x: readonly number[]) {
  const [a = 0, alpha = 0, b = 0, beta = 0, c = 0, delta = 0, omega = 0, gamma = 0, zeta = 0, start = 0, max = 0] = x
  const [kappa = 0, nu = 0, onset = 0, share = 0] = x.slice(11)
  const hasGain = isGain(form)
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
    share: form.transform === 'limited' ? Math.exp(share) : null,
    transform: {
      start: form.transform === 'none' || hasGain ? 1 : Math.exp(start),
      // The fitted number is the excess over the start, so the maximum is always above the start.
      max: form.transform === 'both' ? Math.exp(start) + Math.exp(max) : null,
    },
  }
}

/** The same law in its published form, which has neither a centre nor a dense model as its origin. */
export function coefficientsOf(form: Form, x: readonly number[], centre: Point): Coefficients {
  const { a, alpha, b, beta, c, delta, omega, gamma, zeta, transform, kappa, nu, onset, share } = namesOf(form, x)
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
    share: share === null ? null : (share * centre.active) / centre.tokens,
  }
}

/** A point relative to the centre. */
export interface Centred {
  /** ln N, less that of the centre. */
  readonly n: number
  /** ln D, less that of the centre. */
  readonly d: number
  readonly experts: number
}

export const centred = ({ active, tokens, experts }: Point, centre: Point): Centred => ({
  n: Math.log(active / centre.active),
  d: Math.log(tokens / centre.tokens),
  experts,
})

interface Growth {
  /** e = ln(Ê/start). */
  readonly e: number
  /** Derivatives of e by ln start and by ln(max − start). */
  readonly byStart: number
  readonly byMax: number
}

/** How e grows with the number of experts, and how it depends on the start and the maximum. */
function growthOf(experts: number, transform: { readonly start: number; readonly max: number | null }): Growth {
  const { start, max } = transform
  const inverse = max === null ? 0 : 1 / max
  const transformed = saturated(experts, transform)
  const e = Math.log(transformed / start)
  // 1/Ê = 1/w + 1/max, with w = E − 1 + 1/u and u = 1/start − 1/max.
  const u = 1 / start - inverse
  const w = experts - 1 + 1 / u
  /** Derivative of ln Ê, given those of 1/start and of 1/max. */
  const slope = (ofStart: number, ofMax: number) => -transformed * ((ofStart - ofMax) / (u * u * w * w) + ofMax)
  /** Derivatives of 1/max by ln start and by ln(max − start). */
  const [maxByStart, maxByExcess] = max === null ? [0, 0] : [-start / max ** 2, -(max - start) / max ** 2]
  return { e, byStart: slope(-1 / start, maxByStart) - 1, byMax: slope(0, maxByExcess) }
}

/**
 * The logarithm of the loss of a dense model, or of the loss with experts divided by the dense loss, at points.
 * @param form the form whose numbers count
 * @returns a function of the fitted numbers: `value` by point, and `slopes`, the derivatives of the values by each number
 *   in {@link fittedNames}, those that the form has not included
 */
export function logLosses(form: Form, points: readonly Centred[]) {
  const counts = [...new Set(points.map(({ experts }) => experts))]
  return (x: readonly number[]): Sloped[] => {
    const { a, alpha, b, beta, c, delta, omega, gamma, zeta, transform, kappa, nu, onset, share } = namesOf(form, x)
    const growths = new Map(counts.map((count) => [count, growthOf(count, transform)]))
    const logOnset = Math.log(onset)
    return points.map(({ n, d, experts }) => {
      const size = a * Math.exp(alpha * n)
      const text = b * Math.exp(beta * d)
      const dense = size + text + c
      const [nAlpha, dBeta] = [n * alpha, d * beta]
      if (experts === 1) {
        const slopes = [size / dense, (size / dense) * nAlpha, text / dense, (text / dense) * dBeta, c / dense]
        return { value: Math.log(dense), slopes: [...slopes, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
      }
      const { e, byStart, byMax } = growths.get(experts) as Growth
      const sizePower = delta + gamma * n
      const textPower = omega + zeta * d
      const sizes = size * Math.exp(sizePower * e)
      const texts = text * Math.exp(textPower * e)
      const max = share === null ? null : 1 + share * Math.exp(d - n)
      const gaining = growthOf(experts, { start: 1, max })
      const height = kappa * gaining.e * Math.exp(nu * n)
      const gain = height * Math.max(0, d - logOnset)
      const loss = sizes + texts + c - gain
      // Of the logarithm of the quotient of two sums, each term counts by its share in the one less its share in the other.
      const bySize = sizes / loss - size / dense
      const byText = texts / loss - text / dense
      const byGrowth = (sizes * sizePower + texts * textPower) / loss
      const slopes = [
        bySize,
        bySize * nAlpha,
        byText,
        byText * dBeta,
        c / loss - c / dense,
        (sizes * e) / loss,
        (texts * e) / loss,
        (sizes * n * e) / loss,
        (texts * d * e) / loss,
        byGrowth * byStart,
        byGrowth * byMax,
        -gain / loss,
        (-gain * n) / loss,
        gain > 0 ? height / loss : 0,
        (-gain * gaining.byMax) / (gaining.e * loss),
      ]
      return { value: Math.log(loss / dense), slopes }
    })
  }
}
