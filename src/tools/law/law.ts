/**
 * A law with all that its predictions need: the coefficients, the coefficients of fits without each of the seeds, the
 * errors of predictions for results that were left out of the fit, and the range of sizes, tokens and experts that it
 * was fitted to.
 */
import type { Form } from './centred-law.ts'
import { countOf, fitForm, forms } from './fit.ts'
import { type Coefficients, differenceAt, type Point } from './joint-law.ts'
import { mean, type Observation, type Observations, observe, type Pair, seedsOf } from './observations.ts'

export interface Law {
  readonly form: Form
  readonly coefficients: Coefficients
  /** Coefficients of fits without each of the seeds. Their differences show how far noise moves the law. */
  readonly withoutSeed: readonly Coefficients[]
  readonly residuals: Residuals
  /**
   * Sizes from the smallest to the largest, each with the shortest and the longest training and the number of seeds.
   */
  readonly sizes: readonly FittedSize[]
  /** Numbers of experts, rising; dense models are always among the runs. */
  readonly experts: readonly number[]
  /**
   * Every form that was tried, and its error. The law has the smallest form whose error is at most a tenth above the
   * least.
   */
  readonly compared: readonly { readonly form: Form; readonly coefficients: number; readonly error: number }[]
}

export interface FittedSize {
  readonly active: number
  readonly tokens: readonly [low: number, high: number]
  /** Number of lengths of training. */
  readonly lengths: number
  readonly seeds: number
}

/** Errors that make up the interval of a prediction, beside the differences between seeds; nats a token. */
export interface Residuals {
  /** Standard deviation, over seeds, of the difference between the two runs of a pair. */
  readonly pair: number
  /** Root mean square error of predicted differences if the fit leaves out an arm at one size. */
  readonly leftOutArm: number
  /** Root mean square error of predicted differences if the fit leaves out a whole size. */
  readonly leftOutSize: number
  /** The part of `leftOutArm` that the noise of the seeds does not explain. */
  readonly misfit: number
  /** Number of fits that left out an arm at one size. */
  readonly folds: number
  /** Further error for each factor of e below the smallest and above the largest size. */
  readonly beyondSizes: Ends
  /** Further error for each factor of e below the shortest and above the longest training of a size. */
  readonly beyondTokens: Ends
}

/** Values for the two ends of a range. */
export type Ends = readonly [below: number, above: number]

/** Least numbers of results that determine a law. */
const MIN_COUNTS = { sizes: 2, lengths: 3, experts: 2, seeds: 2 }

/** The results that pairs lack for a law, in words; null if there are enough. */
export function lackingForLaw(pairs: readonly Pair[]): string | null {
  const has = {
    sizes: distinct(pairs, ({ active }) => active).length,
    // One size with enough lengths suffices. Lengths are left out to measure how far a law misses longer trainings.
    lengths: Math.max(0, ...sizesOf(pairs).map(({ lengths }) => lengths)),
    experts: distinct(pairs, ({ experts }) => experts).length,
    seeds: seedsOf(pairs).length,
  }
  const words = {
    sizes: 'sizes',
    lengths: 'lengths of training at a size',
    experts: 'numbers of experts',
    seeds: 'seeds',
  }
  const lacking = (Object.keys(MIN_COUNTS) as (keyof typeof MIN_COUNTS)[]).filter(
    (what) => has[what] < MIN_COUNTS[what],
  )
  return lacking.length === 0
    ? null
    : lacking
        .map((what) => `${MIN_COUNTS[what]} ${words[what]} (there ${has[what] === 1 ? 'is' : 'are'} ${has[what]})`)
        .join(', ')
}

/**
 * The law of paired results.
 * @param candidates forms from which the law is chosen
 * @throws Error if there are too few pairs: see {@link lackingForLaw}
 */
export function lawOf(pairs: readonly Pair[], candidates = forms): Law {
  const lacking = lackingForLaw(pairs)
  if (lacking !== null) throw new Error(`internal: a law needs at least ${lacking}`)
  const observations = observe(pairs)
  const tried = candidates.map((form) => {
    const errors = leftOut(form, observations, bySize)
    return { form, error: rootMeanSquare(errors.flatMap(({ errors }) => errors)), errors }
  })
  const least = Math.min(...tried.map(({ error }) => error))
  const [chosen] = tried
    .filter(({ error }) => error <= 1.1 * least)
    .toSorted((one, other) => countOf(one.form) - countOf(other.form) || one.error - other.error)
  if (!chosen) throw new Error('internal: no form of the law could be fitted')
  const { form } = chosen
  return {
    form,
    coefficients: fitForm(form, observations),
    withoutSeed: seedsOf(pairs).map((seed) => fitForm(form, observe(pairs, seed))),
    residuals: residualsOf(form, observations, chosen.errors),
    sizes: sizesOf(pairs),
    experts: distinct(pairs, ({ experts }) => experts),
    compared: tried.map(({ form, error }) => ({ form, coefficients: countOf(form), error })),
  }
}

interface Fold {
  readonly active: number
  readonly errors: readonly number[]
}

const bySize = ({ active }: Observation) => String(active)
const byArm = ({ active, experts }: Observation) => `${active} ${experts}`

/** Predicted minus observed differences to dense, for the observations of each key when the fit leaves them out. */
function leftOut(form: Form, observations: Observations, key: (one: Observation) => string): Fold[] {
  const { arms } = observations
  return [...new Set(arms.map(key))].map((left) => {
    const [kept, out] = [arms.filter((one) => key(one) !== left), arms.filter((one) => key(one) === left)]
    const remains = new Set(kept.map(({ active }) => active))
    const dense = observations.dense.filter(({ active }) => remains.has(active))
    const coefficients = fitForm(form, { ...observations, dense, arms: kept })
    const errors = out.map((one) => errorOf(coefficients, one))
    return { active: out[0]?.active ?? 0, errors }
  })
}

/**
 * Further error of differences beyond the shortest or the longest trainings, for each factor of e. The one or the two
 * trainings at this end are left out at each size; the larger of the two errors counts.
 * @param known variance of errors within the trained lengths
 */
function beyondTokens(form: Form, observations: Observations, end: 'shortest' | 'longest', known: number): number {
  const lengthsOf = (size: number) => {
    const rising = distinct(
      observations.arms.filter(({ active }) => active === size),
      ({ tokens }) => tokens,
    )
    return end === 'longest' ? rising.reverse() : rising
  }
  const rate = (count: number): number => {
    /** Tokens of the shortest or longest training of a size that is fitted; null if all of its trainings are. */
    const limit = (size: number) => {
      const lengths = lengthsOf(size)
      return lengths.length < count + 2 ? null : (lengths[count] ?? null)
    }
    const distance = ({ active, tokens }: Observation) => {
      const last = limit(active)
      return last === null ? 0 : Math.max(0, Math.log(tokens / last) * (end === 'longest' ? 1 : -1))
    }
    const kept = (all: readonly Observation[]) => all.filter((one) => distance(one) === 0)
    const out = observations.arms.filter((one) => distance(one) > 0)
    if (out.length === 0) return 0
    const coefficients = fitForm(form, {
      ...observations,
      dense: kept(observations.dense),
      arms: kept(observations.arms),
    })
    const excess = out.map((one) => (errorOf(coefficients, one) ** 2 - known) / distance(one) ** 2)
    return Math.sqrt(Math.max(0, mean(excess)))
  }
  return Math.max(rate(1), rate(2))
}

/** Predicted minus observed difference to dense. */
const errorOf = (coefficients: Coefficients, one: Observation): number =>
  differenceAt(coefficients, one) - one.dense * Math.expm1(one.log)

function residualsOf(form: Form, observations: Observations, ofSizes: readonly Fold[]): Residuals {
  const { arms, deviation } = observations
  const ofArms = leftOut(form, observations, byArm)
  const noise = mean(arms.map(({ seeds }) => deviation ** 2 / seeds))
  const leftOutArm = rootMeanSquare(ofArms.flatMap(({ errors }) => errors))
  const misfit = Math.sqrt(Math.max(0, leftOutArm ** 2 - noise))
  const rising = ofSizes.toSorted((a, b) => a.active - b.active)
  /** Further error of the size at an end when it was left out, per factor of e from its neighbour. */
  const beyond = (end?: Fold, neighbour?: Fold) => {
    if (!end || !neighbour) return 0
    const excess = Math.sqrt(Math.max(0, rootMeanSquare(end.errors) ** 2 - misfit ** 2 - noise))
    return excess / Math.abs(Math.log(end.active / neighbour.active))
  }
  return {
    pair: deviation,
    leftOutArm,
    leftOutSize: rootMeanSquare(ofSizes.flatMap(({ errors }) => errors)),
    misfit,
    folds: ofArms.length,
    beyondSizes: [beyond(rising[0], rising[1]), beyond(rising.at(-1), rising.at(-2))],
    beyondTokens: [
      beyondTokens(form, observations, 'shortest', misfit ** 2 + noise),
      beyondTokens(form, observations, 'longest', misfit ** 2 + noise),
    ],
  }
}

function sizesOf(pairs: readonly Pair[]): FittedSize[] {
  return distinct(pairs, ({ active }) => active).map((active) => {
    const own = pairs.filter((pair) => pair.active === active)
    const tokens = distinct(own, (pair) => pair.tokens)
    const range = [tokens[0] ?? 0, tokens.at(-1) ?? 0] as const
    return { active, tokens: range, lengths: tokens.length, seeds: seedsOf(own).length }
  })
}

/** The distinct values of a number, rising. */
const distinct = <T>(values: readonly T[], of: (value: T) => number): number[] =>
  [...new Set(values.map(of))].sort((a, b) => a - b)

const rootMeanSquare = (values: readonly number[]): number => Math.sqrt(mean(values.map((value) => value ** 2)))

/** A tenth beyond the ends of the range counts as inside: sizes of models are not round numbers. */
const MARGIN = 1.1

/** The axis on which a point is outside the range of a law; null if the point is inside. */
export function outside(law: Law, { active, tokens, experts }: Point): 'size' | 'tokens' | 'experts' | null {
  const [smallest, largest] = [law.sizes[0], law.sizes.at(-1)]
  if (!smallest || !largest || active * MARGIN < smallest.active || active > largest.active * MARGIN) return 'size'
  const [low, high] = tokensAt(law, active)
  if (tokens * MARGIN < low || tokens > high * MARGIN) return 'tokens'
  return experts > (law.experts.at(-1) ?? 1) ? 'experts' : null
}

/**
 * Tokens of the shortest and the longest training at a size. Between two fitted sizes they are interpolated on
 * logarithmic scales.
 */
export function tokensAt({ sizes }: Law, active: number): readonly [low: number, high: number] {
  const above = sizes.find((size) => size.active >= active) ?? sizes.at(-1)
  const below = sizes.findLast((size) => size.active <= active) ?? sizes[0]
  if (!above || !below) return [0, 0]
  const gap = Math.log(above.active / below.active)
  const share = gap === 0 ? 0 : Math.min(1, Math.max(0, Math.log(active / below.active) / gap))
  const between = (end: 0 | 1) => below.tokens[end] ** (1 - share) * above.tokens[end] ** share
  return [between(0), between(1)]
}
