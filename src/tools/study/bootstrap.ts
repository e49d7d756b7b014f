/**
 * The variation between texts. Think of the held-out documents as a sample: other documents of the same kind would have
 * given another mean difference. The bootstrap draws such samples from the documents at hand. It draws whole groups of
 * documents, and it draws within each domain, because the corpus fixes the mixture of domains.
 *
 * From the k groups of a domain, k − 1 are drawn with replacement, each with the weight k / (k − 1). So the variance of
 * the draws is the variance of the mean; k draws would underestimate it (Rao and Wu 1988, "Resampling inference with
 * complex survey data"). The interval has more than the middle 95 % of the draws, as Student's t requires for few
 * groups (Hesterberg 2015, "What teachers should know about the bootstrap": the expanded percentile interval). Groups
 * of unequal size count as fewer: their effective number is 1 / Σ share² (Kish 1965, "Survey sampling").
 */
import tCdf from '@stdlib/stats-base-dists-t-cdf'
import tQuantile from '@stdlib/stats-base-dists-t-quantile'
import { group, quantileSorted } from 'd3-array'
import { randomFor } from '../../core/random.ts'
import { type Interval, NORMAL_FREEDOM, standardDeviation } from './statistics.ts'

/** Smallest number of groups with an interval: with fewer, it would be hardly more than a guess. */
export const MIN_GROUPS = 8
const DRAWS = 2000
export const CONFIDENCE = 0.95

/** Documents that are drawn together. */
export interface TextGroup {
  readonly domain: number
  /** Number of targets. */
  readonly targets: number
  /** Sum over the targets. */
  readonly total: number
}

export interface TextEstimate {
  readonly groups: number
  /** Mean per target. */
  readonly mean: number
  /** 95 % interval of the mean. */
  readonly interval: Interval
  /** Standard error of the mean, and its degrees of freedom. */
  readonly error: number
  readonly freedom: number
}

/** The mean per target with its interval over texts, always from the same draws. Null for fewer than 8 groups with targets. */
export function bootstrapTexts(given: readonly TextGroup[]): TextEstimate | null {
  const groups = given.filter(({ targets }) => targets > 0)
  const draws = new TextDraws(groups.map(({ domain }) => domain))
  const targets = groups.map((group) => group.targets)
  const totals = draws.sums(groups.map(({ total }) => total))
  const means = draws.sums(targets).map((drawn, i) => (totals[i] as number) / drawn)
  const found = draws.interval(means, targets)
  if (found === null) return null
  return {
    groups: groups.length,
    mean: sum(groups.map(({ total }) => total)) / sum(targets),
    ...found,
    error: standardDeviation([...means].sort((a, b) => a - b)) ?? 0,
  }
}

/** Draws of groups of documents, for any ratio of sums over them. Groups of the same domains have the same draws. */
export class TextDraws {
  /** Index of each group, by stratum. */
  private readonly order: readonly number[]
  private readonly strata: readonly (readonly number[])[]
  /** [draws][groups in order] */
  private readonly weights: Float64Array

  /** @param domains The domain of each group. */
  constructor(domains: readonly number[]) {
    const strata = strataOf(domains.map((domain, index) => ({ domain, index })))
    this.strata = strata.map((groups) => groups.map(({ index }) => index))
    this.order = this.strata.flat()
    this.weights = weightsOf(strata.map(({ length }) => length))
  }

  /** The sum over the groups in each draw [draws]. @param values A value of each group. */
  sums(values: ArrayLike<number>): Float64Array {
    const { order, weights } = this
    const sums = new Float64Array(DRAWS)
    for (const [place, group] of order.entries()) {
      const value = values[group] as number
      if (value === 0) continue
      for (let draw = 0; draw < DRAWS; draw++)
        sums[draw] = (sums[draw] as number) + (weights[draw * order.length + place] as number) * value
    }
    return sums
  }

  /**
   * The interval of a ratio from its draws; draws without a value are left out. Null if fewer than 8 groups have a part
   * of the denominator.
   * @param base The denominator in each group.
   */
  interval(draws: Float64Array, base: ArrayLike<number>): Pick<TextEstimate, 'interval' | 'freedom'> | null {
    const parts = this.strata.map((groups) => groups.map((group) => base[group] as number).filter((part) => part > 0))
    const all = parts.flat()
    if (all.length < MIN_GROUPS) return null
    const total = sum(all)
    const effective = 1 / sum(all.map((part) => (part / total) ** 2))
    const freedom = Math.max(2, effective - parts.filter(({ length }) => length > 0).length)
    const tail = tCdf(-tQuantile((1 + CONFIDENCE) / 2, freedom), NORMAL_FREEDOM)
    const sorted = [...draws.filter(Number.isFinite).sort()]
    const at = (share: number) => quantileSorted(sorted, share) as number
    return { interval: [at(tail), at(1 - tail)], freedom }
  }
}

/** The weights that were drawn last. All contrasts of a study have the same text, so they share these weights. */
let known = { sizes: '', weights: new Float64Array() }

/** Weights of the groups in each draw [draws][groups]. @param sizes Number of groups of each stratum. */
function weightsOf(sizes: readonly number[]): Float64Array {
  if (known.sizes === sizes.join()) return known.weights
  const random = randomFor(0, 'documents')
  const groups = sum(sizes)
  const weights = new Float64Array(DRAWS * groups)
  for (let draw = 0; draw < DRAWS; draw++) {
    let first = draw * groups
    for (const size of sizes) {
      for (let i = 1; i < size; i++) {
        const at = first + random.integer(size)
        weights[at] = (weights[at] as number) + size / (size - 1)
      }
      first += size
    }
  }
  known = { sizes: sizes.join(), weights }
  return weights
}

/**
 * The groups in strata, one for each domain. A domain with one group shows no variation: several such domains form one
 * stratum, and a single one joins the smallest other domain.
 */
function strataOf<Group extends Pick<TextGroup, 'domain'>>(groups: readonly Group[]): readonly (readonly Group[])[] {
  const domains = [...group(groups, ({ domain }) => domain).values()].sort((a, b) => a.length - b.length)
  const single = domains.filter(({ length }) => length === 1).flat()
  const [smallest, ...others] = domains.filter(({ length }) => length > 1)
  if (single.length !== 1) return [...(single.length > 0 ? [single] : []), ...(smallest ? [smallest, ...others] : [])]
  return [[...single, ...(smallest ?? [])], ...others]
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
