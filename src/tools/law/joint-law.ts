/**
 * The joint law of dense and sparse models: held-out loss from active parameters, tokens and experts (Ludziejewski et al.
 * 2025, "Joint MoE Scaling Laws", arXiv 2502.05172, equations 4 and 6):
 *
 *     L(N, D, E) = a·Ê^δ·N^(α + γ·ln Ê) + b·Ê^ω·D^(β + ζ·ln Ê) + c
 *     1/Ê = 1/(E − 1 + (1/start − 1/max)⁻¹) + 1/max
 *
 * For a fixed E it is the law of Hoffmann et al. (2022). Ê is the transform of Clark et al. (2022, arXiv 2202.01169): Ê
 * is `start` at E = 1, and saturates at `max`. With start 1 and no maximum, Ê is E itself.
 *
 * In that form experts cost loss in short trainings. In small models that was not measured: experts neither cost nor
 * gain loss up to some number of tokens, and gain from there on. So another form adds a gain to the law of a dense model,
 * in place of the terms that depend on E:
 *
 *     L(N, D, E) = a·N^α + b·D^β + c − κ·ln E·N^ν·max(0, ln(D/onset))
 *
 * Each doubling of the experts adds the same, and so does each doubling of the tokens from the onset on, as the loss is
 * bilinear in ln N and ln E in the law of Clark et al. In a third form, Ê replaces E in the gain, with the start 1 and a
 * maximum that grows with the tokens for each active parameter, because more experts need more text: 1 + share·D/N.
 */

export interface Coefficients {
  readonly a: number
  readonly alpha: number
  readonly delta: number
  readonly gamma: number
  readonly b: number
  readonly beta: number
  readonly omega: number
  readonly zeta: number
  readonly c: number
  readonly start: number
  /** Maximum of Ê; null if Ê grows without bound. */
  readonly max: number | null
  /** Factor κ of the gain; 0 if the law has the terms of Ê instead. */
  readonly kappa: number
  readonly nu: number
  /** Tokens from which on experts gain: the break-even of all sizes and numbers of experts. */
  readonly onset: number
  /** How far the maximum of Ê in a gain grows with each token for each active parameter; null if it has no maximum. */
  readonly share: number | null
}

/** A model and the length of its training. */
export interface Point {
  /** Active parameters that compute, N. Each law defines which parameters it counts. */
  readonly active: number
  /** Tokens trained on, D. */
  readonly tokens: number
  /** Experts of which a token uses one, E; 1 is a dense model. */
  readonly experts: number
}

/** Ê of equation 4. */
export function saturated(experts: number, { start, max }: Pick<Coefficients, 'start' | 'max'>): number {
  const inverse = max === null ? 0 : 1 / max
  return 1 / (1 / (experts - 1 + 1 / (1 / start - inverse)) + inverse)
}

/** The loss of each form, in nats a token. */
export function lossAt(law: Coefficients, { active, tokens, experts }: Point): number {
  const x = Math.log(saturated(experts, law))
  const [n, d] = [Math.log(active), Math.log(tokens)]
  // The terms are computed in logarithms, since N^α underflows long before the product does.
  const size = Math.exp(Math.log(law.a) + law.delta * x + (law.alpha + law.gamma * x) * n)
  const text = Math.exp(Math.log(law.b) + law.omega * x + (law.beta + law.zeta * x) * d)
  const gaining = saturated(experts, { start: 1, max: law.share === null ? null : 1 + (law.share * tokens) / active })
  const gain = law.kappa * Math.log(gaining) * Math.exp(law.nu * n) * Math.max(0, Math.log(tokens / law.onset))
  return size + text + law.c - gain
}

/** Loss with experts minus loss of the dense model of equal active parameters and tokens: below zero, experts pay. */
export const differenceAt = (law: Coefficients, point: Point): number =>
  lossAt(law, point) - lossAt(law, { ...point, experts: 1 })
