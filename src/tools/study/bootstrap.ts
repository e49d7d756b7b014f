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
import { randomFor } from '../../train/step/random.ts'
import { type Interval, standardDeviation } from './statistics.ts'

/** Smallest number of groups with an interval: with fewer, it would be hardly more than a guess. */
export const MIN_GROUPS = 8
const DRAWS = 2000
const CONFIDENCE = 0.95
/** Degrees of freedom at which Student's t is practically the normal distribution. */
const NORMAL_FREEDOM = 1e7

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
  if (groups.length < MIN_GROUPS) return null
  const strata = strataOf(groups)
  const ordered = strata.flat()
  const weights = weightsOf(strata.map(({ length }) => length))
  const means = Array.from({ length: DRAWS }, (_, draw) => {
    let [targets, total] = [0, 0]
    for (const [i, one] of ordered.entries()) {
      const weight = weights[draw * ordered.length + i] as number
      targets += weight * one.targets
      total += weight * one.total
    }
    return total / targets
  }).sort((a, b) => a - b)
  const all = sum(groups.map(({ targets }) => targets))
  const effective = 1 / sum(groups.map(({ targets }) => (targets / all) ** 2))
  const freedom = Math.max(2, effective - strata.length)
  const tail = tCdf(-tQuantile((1 + CONFIDENCE) / 2, freedom), NORMAL_FREEDOM)
  const at = (share: number) => quantileSorted(means, share) as number
  return {
    groups: groups.length,
    mean: sum(groups.map(({ total }) => total)) / all,
    interval: [at(tail), at(1 - tail)],
    error: standardDeviation(means) ?? 0,
    freedom,
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
function strataOf(groups: readonly TextGroup[]): readonly (readonly TextGroup[])[] {
  const domains = [...group(groups, ({ domain }) => domain).values()].sort((a, b) => a.length - b.length)
  const single = domains.filter(({ length }) => length === 1).flat()
  const [smallest, ...others] = domains.filter(({ length }) => length > 1)
  if (single.length !== 1) return [...(single.length > 0 ? [single] : []), ...(smallest ? [smallest, ...others] : [])]
  return [[...single, ...(smallest ?? [])], ...others]
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
