/** Made-up results of a map: losses of a known law plus noise of the seed, which its arms share, and of each run. */
import { type Coefficients, lossAt, type Point } from '../joint-law.ts'
import type { Pair } from '../observations.ts'
import { publishedLaw } from '../published.ts'

/** Of the size of what small models show: with 8 experts +0.09 nats at 1 token per parameter, −0.05 at 64. */
export const knownLaw: Coefficients = {
  ...publishedLaw,
  delta: -0.0364,
  gamma: 0.0005,
  omega: 0.0588,
  zeta: -0.002,
  a: 31.2,
  b: 51.6,
}

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

/** The sizes of the planned map: tokens up to `most` for each active parameter. */
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

export const lossBy = (coefficients: Coefficients) => (point: Point) => lossAt(coefficients, point)

/** Normal numbers of a seed, by Box and Muller's method over a linear congruential generator. */
export function noiseOf(seed: number): () => number {
  let state = seed * 7919 + 12_345
  const uniform = () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32
    return state / 2 ** 32
  }
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
}
