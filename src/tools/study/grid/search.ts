/**
 * A search: which configurations are tried, and for how many steps each. Configurations are drawn from ranges at
 * random, but a drawn value is a pure function of the seed, the setting and the number of the draw. So a search that is
 * started again has the same configurations, and a larger search begins with the configurations of a smaller one.
 *
 * Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943; the inner loop of Hyperband, Li et al. 2018, arXiv
 * 1603.06560) trains all configurations for a few steps, the best 1/eta of them for eta times as many steps, and so on.
 * Each round of this ladder is a *rung*.
 */
import { z } from 'zod'
import type { Fields } from '../../../core/config/fields.ts'
import { UsageError } from '../../../core/errors.ts'
import { hashText } from '../../../core/permutation.ts'

/** A range of numbers or a list of values. */
const searchedSchema = z
  .strictObject({
    min: z.number().optional(),
    max: z.number().optional(),
    /** How values between `min` and `max` are distributed; default: linear. */
    scale: z.enum(['linear', 'log']).optional(),
    /** Whether only whole numbers are drawn. */
    integer: z.boolean().optional(),
    choices: z.array(z.unknown()).min(2, { message: 'expected at least two values' }).optional(),
  })
  .superRefine(({ min, max, scale, integer, choices }, context) => {
    const refuse = (message: string) => context.addIssue({ code: 'custom', message })
    if (choices !== undefined) {
      if ([min, max, scale, integer].some((value) => value !== undefined))
        refuse('has choices and a range (give one of them)')
      else if (new Set(choices.map((value) => JSON.stringify(value))).size < choices.length)
        refuse('choices repeat a value')
    } else if (min === undefined || max === undefined) refuse('expected min and max, or choices')
    else if (min >= max) refuse(`min ${min} must be less than max ${max}`)
    else if (scale === 'log' && min <= 0) refuse(`min ${min} must be above 0 with scale: log`)
    else if (integer && !(Number.isSafeInteger(min) && Number.isSafeInteger(max)))
      refuse('min and max must be whole numbers with integer: true')
  })

export const searchSchema = z.strictObject({
  /** Searched ranges and choices, by the path of the setting. */
  settings: z
    .record(z.string().min(1), searchedSchema)
    .refine((settings) => Object.keys(settings).length > 0, { message: 'expected at least one setting' }),
  /** Number of configurations in the first rung. */
  configurations: z.int().min(2, { message: 'expected at least 2' }),
  /** The best 1/eta of the configurations of each rung go on, for eta times as many steps. */
  eta: z.int().min(2, { message: 'expected a whole number from 2' }).default(3),
  /** Smallest number of steps of the first rung. */
  minSteps: z.int().positive(),
  /** Steps of the last rung, a whole training. Default: `train.steps` of the base. */
  maxSteps: z.int().positive().optional(),
  /** Seed of the draws. */
  seed: z.int().nonnegative().default(0),
})

export type Search = z.output<typeof searchSchema>
export type Searched = Search['settings'][string]

export interface Rung {
  /** Number of steps that a training has done at the end of the rung. */
  readonly steps: number
  readonly configurations: number
}

/**
 * The rungs by rising steps. The last rung has `maxSteps` steps, and each rung before it 1/eta of the steps of the
 * next, as long as these are at least `minSteps`. Rungs that are equal after rounding are one rung, since a second one
 * would drop configurations without training them.
 * @throws UsageError if the first rung would be longer than the last
 */
export function rungsOf({ configurations, eta, minSteps }: Search, maxSteps: number): Rung[] {
  if (minSteps > maxSteps)
    throw new UsageError(
      `invalid search.minSteps: ${minSteps} (a whole training has ${maxSteps} steps; expected fewer)`,
    )
  /** Steps of the rung that is so many places before the last. */
  const stepsOf = (before: number) => Math.round(maxSteps / eta ** before)
  let count = 1
  while (stepsOf(count) >= minSteps && stepsOf(count) < stepsOf(count - 1)) count++
  return Array.from({ length: count }, (_, rung) => ({
    steps: stepsOf(count - 1 - rung),
    configurations: Math.max(1, Math.floor(configurations / eta ** rung)),
  }))
}

/** Number of draws in a row without a new configuration after which the ranges count as exhausted. */
const MAX_REPEATS = 1000

/**
 * The settings of each configuration by path, all different, in the order of the draws.
 * @throws UsageError if the ranges and choices allow fewer configurations
 */
export function drawSettings({ settings, configurations, seed }: Search): Fields[] {
  const found = new Map<string, Fields>()
  let repeats = 0
  for (let draw = 0; found.size < configurations; draw++) {
    const drawn = Object.fromEntries(
      Object.entries(settings).map(([path, searched]) => [path, valueAt(searched, uniform(path, draw, seed))]),
    )
    const key = JSON.stringify(drawn)
    repeats = found.has(key) ? repeats + 1 : 0
    if (!found.has(key)) found.set(key, drawn)
    if (repeats === MAX_REPEATS)
      throw new UsageError(
        `invalid search.configurations: ${configurations} (the ranges and choices allow about ${found.size} different ones)`,
      )
  }
  return [...found.values()]
}

/** A uniform number in [0, 1) for a setting and a draw. */
const uniform = (path: string, draw: number, seed: number): number => hashText(`${path} ${draw}`, seed) / 2 ** 53

/** Significant digits of a drawn number: as many as a person would write. */
const DIGITS = 4

function valueAt({ min = 0, max = 1, scale, integer, choices }: Searched, share: number): unknown {
  if (choices) return choices[Math.floor(share * choices.length)]
  const clamp = (value: number) => Math.min(max, Math.max(min, value))
  // A whole number is drawn for all fractions that round to it, so both ends are as likely as the numbers between.
  const [low, high] = integer ? [min - 0.5, max + 0.5] : [min, max]
  const value =
    scale === 'log' ? Math.exp(Math.log(low) + share * (Math.log(high) - Math.log(low))) : low + share * (high - low)
  return clamp(integer ? Math.round(value) : Number(value.toPrecision(DIGITS)))
}
