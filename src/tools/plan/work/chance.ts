/**
 * Chance in routing. A token chooses an expert with some probability, so even if all experts are equally likely, their
 * tokens vary: an expert that should get 1.2 tokens often gets none, and often more than its capacity. The tokens of
 * an expert are binomially distributed.
 */
import normalCdf from '@stdlib/stats-base-dists-normal-cdf'

/** Mean and variance of a random number. */
export interface Moments {
  readonly mean: number
  readonly variance: number
}

/**
 * The tokens that an expert keeps: min(X, C), where each of n tokens chooses the expert with probability p.
 * @param tokens n, at least 0
 * @param probability p; from 1 on, the expert gets n·p tokens without chance
 * @param capacity C; Infinity for no limit
 */
export function keptTokens(tokens: number, probability: number, capacity: number): Moments {
  const mean = tokens * probability
  const variance = mean * (1 - probability)
  if (!(variance > 0)) return { mean: Math.min(mean, capacity), variance: 0 }
  if (capacity >= tokens) return { mean, variance }
  return variance > SUMMED ? nearlyNormal(mean, variance, capacity) : summed(tokens, probability, capacity)
}

/** Variance up to which the counts are summed. Beyond it, the normal distribution errs by less than a thousandth. */
const SUMMED = 100

/** Sums over all counts, in both directions from the most likely count, until their weights vanish. */
function summed(tokens: number, probability: number, capacity: number): Moments {
  const odds = probability / (1 - probability)
  const mode = Math.min(Math.floor(tokens), Math.floor((tokens + 1) * probability))
  let all = 0
  let first = 0
  let second = 0
  const add = (count: number, weight: number) => {
    const kept = Math.min(count, capacity) - mode
    all += weight
    first += weight * kept
    second += weight * kept ** 2
  }
  for (let count = mode, weight = 1; count <= tokens && weight > NOTHING; count++) {
    add(count, weight)
    weight *= ((tokens - count) / (count + 1)) * odds
  }
  for (let count = mode, weight = 1; count > 0; ) {
    weight *= count / (tokens - count + 1) / odds
    if (!(weight > NOTHING)) break
    count--
    add(count, weight)
  }
  const mean = first / all
  return { mean: mode + mean, variance: Math.max(0, second / all - mean ** 2) }
}

/** Weight relative to the most likely count from which on counts do not matter. */
const NOTHING = 1e-15

const below = normalCdf.factory(0, 1)
const density = (z: number): number => Math.exp(-(z ** 2) / 2) / Math.sqrt(2 * Math.PI)

/** Moments of min(X, C) = C − max(C − X, 0) for a normal X. */
function nearlyNormal(mean: number, variance: number, capacity: number): Moments {
  const deviation = Math.sqrt(variance)
  const z = (capacity - mean) / deviation
  const unused = density(z) + z * below(z)
  const unusedSquare = (1 + z ** 2) * below(z) + z * density(z)
  return { mean: capacity - deviation * unused, variance: variance * Math.max(0, unusedSquare - unused ** 2) }
}

/** Deviations from a mean beyond which a normal distribution is cut off, and points of the integral between. */
const [REACH, POINTS] = [6, 64]

/** Expected maximum of independent normal numbers: ∫ (1 − Π P(Xᵢ ≤ x)) dx above a point that the maximum surely exceeds. */
export function expectedMaximum(numbers: readonly Moments[]): number {
  const reach = (sign: 1 | -1) =>
    numbers.reduce((most, { mean, variance }) => Math.max(most, mean + sign * REACH * Math.sqrt(variance)), -Infinity)
  const [low, high] = [reach(-1), reach(1)]
  const [first] = numbers
  if (!first || numbers.length === 1 || high <= low) return first && numbers.length === 1 ? first.mean : low
  const counts = new Map<number, { moments: Moments; count: number }[]>()
  for (const moments of numbers) {
    if (moments.mean + REACH * Math.sqrt(moments.variance) <= low) continue
    const same = counts.get(moments.mean) ?? []
    const known = same.find(({ moments: { variance } }) => variance === moments.variance)
    if (known) known.count++
    else counts.set(moments.mean, [...same, { moments, count: 1 }])
  }
  const distinct = [...counts.values()].flat()
  const step = (high - low) / POINTS
  let integral = 0
  for (let i = 0; i <= POINTS; i++) {
    const x = low + i * step
    const allBelow = distinct.reduce((product, { moments: { mean, variance }, count }) => {
      if (variance === 0) return x < mean ? 0 : product
      return product === 0 ? 0 : product * below((x - mean) / Math.sqrt(variance)) ** count
    }, 1)
    integral += (i === 0 || i === POINTS ? 0.5 : 1) * (1 - allBelow) * step
  }
  return low + integral
}
