/** Made-up results of a map: losses of a known law plus noise of the seed, which its arms share, and of each run. */
import { forecast } from '../forecast.ts'
import { type Coefficients, lossAt, type Point } from '../joint-law.ts'
import { lawOf } from '../law.ts'
import { mean, type Pair } from '../observations.ts'
import { publishedLaw } from '../published.ts'
import { normals } from './normals.ts'

/**
 * A law with differences as large as those of small models: with 8 experts +0.09 nats at 1 token per parameter, −0.05
 * at 64.
 */
export const knownLaw: Coefficients = {
  ...publishedLaw,
  delta: -0.0364,
  gamma: 0.0005,
  omega: 0.0588,
  zeta: -0.002,
  a: 31.2,
  b: 51.6,
}

/** The sizes of the planned map, with trainings of up to `most` tokens for each active parameter. */
export const mapSizes = [
  { active: 3.3e5, most: 64, seeds: 4 },
  { active: 1e6, most: 32, seeds: 4 },
  { active: 3.1e6, most: 8, seeds: 2 },
]

interface MapSketch {
  readonly law: (point: Point) => number
  readonly sizes: readonly { readonly active: number; readonly most: number; readonly seeds: number }[]
  readonly experts: readonly number[]
  /** Standard deviations in nats a token. */
  readonly noise: { readonly seed: number; readonly run: number; readonly branch: number }
}

/** Pairs of a map whose runs have the losses of the law plus noise. @param normal returns normal random numbers */
export function simulate(sketch: MapSketch, normal: () => number): Pair[] {
  const { law, experts, noise } = sketch
  return sketch.sizes.flatMap(({ active, most, seeds }) =>
    Array.from({ length: seeds }, (_, i) => i + 1).flatMap((seed) => {
      const common = noise.seed * normal()
      const lengths = [64, 32, 16, 8, 4, 2, 1].filter((ratio) => ratio <= most).reverse()
      const runOf = (count: number) => {
        const own = noise.run * normal()
        return lengths.map((ratio) => {
          const point = { active, tokens: ratio * active, experts: count }
          return { ...point, loss: law(point) + common + own + noise.branch * normal() }
        })
      }
      const dense = runOf(1)
      return experts.flatMap((count) =>
        runOf(count).map((run, i) => ({ ...run, seed, dense: dense[i]?.loss ?? Number.NaN })),
      )
    }),
  )
}

/** A law whose experts never cost loss: in a model of 0.33 M, 8 experts gain from 0.8 M tokens on, and 0.11 nats at 16 M. */
export const knownGain: Coefficients = {
  ...publishedLaw,
  ...{ delta: 0, gamma: 0, omega: 0, zeta: 0, start: 1, max: null },
  ...{ kappa: 0.42, nu: -0.25, onset: 8e5 },
}

export const lossBy = (coefficients: Coefficients) => (point: Point) => lossAt(coefficients, point)

/** Noise of a map, in nats a token. */
export const mapNoise = { seed: 0.01, run: 0.004, branch: 0.002 }

const points = (all: readonly (readonly [active: number, ratio: number, experts: number])[]): Point[] =>
  all.map(([active, ratio, experts]) => ({ active, tokens: ratio * active, experts }))

/**
 * Points that were not trained: between {@link mapSizes}, at twice the largest of them, and longer than any training.
 */
export const unseen = {
  between: points([
    [6e5, 2, 16],
    [6e5, 8, 8],
    [6e5, 24, 32],
    [1.8e6, 2, 4],
    [1.8e6, 12, 32],
  ]),
  larger: points([
    [6e6, 2, 16],
    [6e6, 8, 8],
  ]),
  longer: points([
    [3.3e5, 128, 8],
    [1e6, 64, 32],
    [1e6, 128, 8],
    [3.1e6, 16, 8],
    [3.1e6, 32, 32],
  ]),
}

export type Unseen = keyof typeof unseen

/** True losses by name. Intervals must also be honest for losses that differ from the form that is fitted. */
export const truths: Readonly<Record<string, (point: Point) => number>> = {
  'of the form that is fitted': lossBy(knownLaw),
  'with experts that cost more early in training': (point) =>
    lossAt(knownLaw, point) +
    (point.experts > 1 ? 0.01 * Math.log(point.experts) * Math.exp(-point.tokens / point.active / 6) : 0),
  'with curves that bend by 0.01 to 0.02 nats': (point) =>
    lossAt(knownLaw, point) + (point.experts > 1 ? 0.015 * Math.sin(Math.log(point.tokens / point.active)) : 0),
}

/** Share of new measurements of two seeds inside their 80 % intervals, and mean width of these, over `maps` maps. */
export function simulatedCoverage(
  truth: (point: Point) => number,
  maps: number,
  seed: number,
): Record<Unseen, { readonly inside: number; readonly width: number }> {
  const seeds = 2
  const random = normals(seed)
  const deviation = Math.sqrt((2 * (mapNoise.run ** 2 + mapNoise.branch ** 2)) / seeds)
  const laws = Array.from({ length: maps }, () =>
    lawOf(simulate({ law: truth, sizes: mapSizes, experts: [2, 8, 32], noise: mapNoise }, random)),
  )
  const of = (kind: Unseen) => {
    const found = laws.flatMap((law) =>
      unseen[kind].map((point) => {
        const measured = truth(point) - truth({ ...point, experts: 1 }) + deviation * random()
        const { low, high } = forecast(law, point, seeds)
        return { inside: measured >= low && measured <= high, width: high - low }
      }),
    )
    return { inside: mean(found.map(({ inside }) => Number(inside))), width: mean(found.map(({ width }) => width)) }
  }
  return { between: of('between'), larger: of('larger'), longer: of('longer') }
}
