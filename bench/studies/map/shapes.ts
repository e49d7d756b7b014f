/**
 * Shapes of the gain of experts that were tried beside the forms of the law. Each has a few numbers with weak priors,
 * and `at` is the gain in nats a token at a size N, a length of training D and E experts. Sizes are relative to 0.3 M active
 * parameters, tokens to 4 M.
 */
import type { Point } from '../../../src/tools/law/joint-law.ts'
import { leastSquares, numerically } from '../../../src/tools/law/least-squares.ts'

export interface GainShape {
  readonly name: string
  readonly priors: readonly (readonly [mean: number, deviation: number])[]
  readonly at: (numbers: readonly number[], n: number, d: number, experts: number) => number
}

const [scale, size, tokens, exponent] = [
  [Math.log(0.02), 1],
  [-0.2, 0.3],
  [-1, 1],
  [Math.log(0.5), 0.5],
] as const

/** Tokens of the warm-up of the map, 60 steps of 2,048 tokens. */
const WARMUP = (60 * 2048) / 4e6

export const shapes: readonly GainShape[] = [
  {
    name: 'κ·ln E·N^ν·ln(D/onset), also below zero',
    priors: [scale, size, tokens],
    at: ([k = 0, nu = 0, onset = 0], n, d, e) => Math.exp(k) * Math.log(e) * n ** nu * (Math.log(d) - onset),
  },
  {
    name: 'κ·ln E·N^ν·ln(1 + D/onset)',
    priors: [scale, size, tokens],
    at: ([k = 0, nu = 0, onset = 0], n, d, e) => Math.exp(k) * Math.log(e) * n ** nu * Math.log1p(d / Math.exp(onset)),
  },
  {
    name: 'without the size: κ·ln E·max(0, ln(D/onset))',
    priors: [scale, tokens],
    at: ([k = 0, onset = 0], _, d, e) => Math.exp(k) * Math.log(e) * Math.max(0, Math.log(d) - onset),
  },
  {
    name: 'over tokens for each active parameter, D/N',
    priors: [scale, size, tokens],
    at: ([k = 0, nu = 0, onset = 0], n, d, e) =>
      Math.exp(k) * Math.log(e) * n ** nu * Math.max(0, Math.log(d / n) - onset),
  },
  {
    name: 'over tokens for each expert, D/E',
    priors: [scale, size, [-3, 1]],
    at: ([k = 0, nu = 0, onset = 0], n, d, e) =>
      Math.exp(k) * Math.log(e) * n ** nu * Math.max(0, Math.log(d / e) - onset),
  },
  {
    name: 'a power of the tokens: κ·ln E·N^ν·D^µ',
    priors: [scale, size, exponent],
    at: ([k = 0, nu = 0, mu = 0], n, d, e) => Math.exp(k) * Math.log(e) * n ** nu * d ** Math.exp(mu),
  },
  {
    name: 'a power of the tokens after the warm-up',
    priors: [scale, size, exponent],
    at: ([k = 0, nu = 0, mu = 0], n, d, e) => Math.exp(k) * Math.log(e) * n ** nu * (d - WARMUP) ** Math.exp(mu),
  },
  {
    name: 'each expert begins to gain after its own tokens',
    priors: [scale, size, tokens],
    at: ([k = 0, nu = 0, onset = 0], n, d, e) =>
      Math.exp(k) * n ** nu * Math.log((1 + d / Math.exp(onset)) / (1 + d / e / Math.exp(onset))),
  },
  {
    name: 'saturates: κ·ln E·N^ν/(1 + (onset/D)^µ)',
    priors: [scale, size, tokens, [0, 0.5]],
    at: ([k = 0, nu = 0, onset = 0, mu = 0], n, d, e) =>
      (Math.exp(k) * Math.log(e) * n ** nu) / (1 + (Math.exp(onset) / d) ** Math.exp(mu)),
  },
  {
    name: 'gain of capacity minus cost of text, smoothly above zero',
    priors: [[Math.log(0.06), 1], size, scale, exponent, [Math.log(0.005), 0.7]],
    at: ([capacity = 0, nu = 0, cost = 0, mu = 0, smooth = 0], n, d, e) => {
      const width = Math.exp(smooth)
      const free = Math.log(e) * (Math.exp(capacity) * n ** nu - Math.exp(cost) * d ** -Math.exp(mu))
      return width * (Math.max(0, free / width) + Math.log1p(Math.exp(-Math.abs(free / width))))
    },
  },
]

export interface Gain extends Point {
  readonly gain: number
  readonly seeds: number
}

/** @param noise standard deviation of the gain of one seed, nats a token @returns the fitted gain */
export function fitShape({ priors, at }: GainShape, gains: readonly Gain[], noise: number): (point: Point) => number {
  const gainAt = (x: readonly number[], { active, tokens, experts }: Point) =>
    at(x, active / 3e5, tokens / 4e6, experts)
  const residuals = (x: readonly number[]) => [
    ...gains.map((one) => ((gainAt(x, one) - one.gain) * Math.sqrt(one.seeds)) / noise),
    ...priors.map(([mean, deviation], i) => ((x[i] ?? 0) - mean) / deviation),
  ]
  const starts = [-1, 0, 1].map((side) =>
    priors.map(([mean, deviation], i) => mean + side * deviation * (i % 2 ? -1 : 1)),
  )
  const found = starts.map((start) => leastSquares(numerically(residuals), start, 150))
  const { x } = found.reduce((one, other) => (other.cost < one.cost ? other : one))
  return (point) => gainAt(x, point)
}
