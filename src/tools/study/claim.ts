/**
 * A claim of the literature, in a form that a study can answer. Every kind is reduced to one number for each seed
 * (`analysis/claims/effects.ts`) and the region in which the claim expects it: below zero, above zero, or
 * within a margin of zero. A number below zero always means a lower loss, fewer steps, or a falling trend.
 *
 * | kind | the number | `expect` |
 * |---|---|---|
 * | `difference` | loss of the arm minus the loss of its baseline, nats a token | `better`, `worse`, `equal` |
 * | `speed` | logarithm of the ratio, arm over baseline, of steps, FLOPs or seconds to the higher of their final losses | `better`, `worse`, `equal` |
 * | `trend` | slope of a loss, or of a difference, for each doubling of `over` | `falls`, `rises`, `flat` |
 * | `returns` | slope between the last two points of a trend minus the slope between the first two | `diminish`, `grow`, `constant` |
 * | `correlation` | r of load imbalance (c_v) with the loss, over arms | `rises`, `falls`, `flat` |
 *
 * @example
 * ```yaml
 * claim:
 *   statement: Two prototypes are better than top-1 at equal cost
 *   source: arXiv 2105.15082
 *   kind: difference
 *   contrasts: [[top-1, 2 top-1 1x]]
 *   expect: better
 *   controls:
 *     - { name: other seeds, contrast: [top-1, 2 top-1 1x], seeds: [6, 7, 8] }
 *     - { name: without capacity, contrast: [top-1, 2 top-1 1x], capacity: none }
 * ```
 */
import { z } from 'zod'

const sides = {
  better: -1,
  falls: -1,
  grow: -1,
  worse: 1,
  rises: 1,
  diminish: 1,
  equal: 0,
  flat: 0,
  constant: 0,
} as const

/** The side of zero on which a claim expects its number; 0: within the margin of zero. */
export const sideOf = (expectation: keyof typeof sides): -1 | 0 | 1 => sides[expectation]

/** A contrast as [baseline, arm]. */
const pairSchema = z.tuple([z.string(), z.string()])

const controlSchema = z.strictObject({
  /** The experiment in a few words. */
  name: z.string().min(1),
  contrast: pairSchema,
  /** Capacity of the evaluation; default: the capacity of the study. */
  capacity: z.enum(['train', 'eval', 'none']).optional(),
  /** Seeds that are used; default: all. */
  seeds: z.array(z.int().nonnegative()).min(1).optional(),
})

const common = {
  /** The claim in a sentence without a full stop. */
  statement: z.string().min(1),
  /** The claim in a few words, for the table that opens the report; default: the title of the question. */
  name: z.string().min(1).optional(),
  /** Where the claim was published: an arXiv id. */
  source: z.string().min(1).optional(),
  /** The published number. */
  published: z.string().min(1).optional(),
  /**
   * The largest effect that counts as no effect, if the claim expects `equal`, `flat` or `constant`; if it expects a
   * direction, the smallest effect that counts. In the unit of the number; for a ratio, the excess over 1 (0.05: five
   * per cent).
   */
  margin: z.number().nonnegative().default(0),
  /** Experiments that try to refute the answer. */
  controls: z.array(controlSchema).default([]),
}

/** The contrasts that a claim or a prediction is about. */
export const contrastFields = {
  /** Default: all contrasts of the question. */
  contrasts: z.array(pairSchema).min(1).optional(),
  /** Whether all of the contrasts must be as stated, or most of them. */
  of: z.enum(['all', 'most']).default('all'),
}

/** Independent variables of trends that are counts of a run, rather than settings. */
export const counts = ['parameters', 'activeParameters', 'tokens'] as const

const trendFields = {
  /** Arms whose losses form the trend, in the order of `over`. */
  arms: z.array(z.string()).min(2).optional(),
  /** Contrasts whose differences form the trend, instead of arms. Default: all contrasts of the question. */
  contrasts: z.array(pairSchema).min(2).optional(),
  /** The independent variable: `parameters`, `activeParameters`, `tokens`, or the path of a configuration field. */
  over: z.string().min(1).default('parameters'),
}

const kinds = {
  difference: z.strictObject({
    kind: z.literal('difference'),
    ...common,
    ...contrastFields,
    expect: z.enum(['better', 'worse', 'equal']),
  }),
  speed: z.strictObject({
    kind: z.literal('speed'),
    ...common,
    ...contrastFields,
    measure: z.enum(['steps', 'flops', 'seconds']).default('steps'),
    expect: z.enum(['better', 'worse', 'equal']),
  }),
  trend: z.strictObject({
    kind: z.literal('trend'),
    ...common,
    ...trendFields,
    expect: z.enum(['falls', 'rises', 'flat']),
  }),
  returns: z.strictObject({
    kind: z.literal('returns'),
    ...common,
    ...trendFields,
    expect: z.enum(['diminish', 'grow', 'constant']),
  }),
  correlation: z.strictObject({
    kind: z.literal('correlation'),
    ...common,
    expect: z.enum(['rises', 'falls', 'flat']),
  }),
}

export const claimSchema = z
  .discriminatedUnion('kind', [kinds.difference, kinds.speed, kinds.trend, kinds.returns, kinds.correlation])
  .refine(({ expect, margin }) => margin > 0 || sideOf(expect) !== 0, {
    message: 'needs a margin above 0: no experiment shows that two numbers are exactly equal',
    path: ['margin'],
  })
  .refine((claim) => !('arms' in claim && claim.arms && claim.contrasts), {
    message: 'has both arms and contrasts (give arms for losses, or contrasts for differences)',
    path: ['contrasts'],
  })

export type Claim = z.output<typeof claimSchema>
export type Control = Claim['controls'][number]

/** An arm that a claim names, or a contrast as [baseline, arm], and the path of the field with it. */
export interface Named {
  readonly field: string
  readonly arms: readonly [arm: string] | readonly [baseline: string, arm: string]
}

/** The arms and contrasts that a claim names, including the contrasts of its controls. */
export function namedIn(claim: Claim): Named[] {
  const contrasts = 'contrasts' in claim ? (claim.contrasts ?? []) : []
  const arms = 'arms' in claim ? (claim.arms ?? []) : []
  return [
    ...arms.map((arm, i): Named => ({ field: `arms.${i}`, arms: [arm] })),
    ...contrasts.map((pair, i): Named => ({ field: `contrasts.${i}`, arms: pair })),
    ...claim.controls.map(({ contrast }, i): Named => ({ field: `controls.${i}.contrast`, arms: contrast })),
  ]
}
