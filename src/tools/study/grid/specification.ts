/**
 * The specification that a user writes: a YAML file with arms, seeds and questions. This file has its schema;
 * values of configuration fields are checked by the schema of `train` (in grid.ts).
 */
import { z } from 'zod'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { capacityRules } from '../../../core/model/routing/contract.ts'
import { readYaml } from '../../../node/run/read-yaml.ts'
import { parseSet } from '../../../node/run/set-option.ts'
import { CONFIG_BYTES, readText } from '../../../node/system/read-text.ts'
import type { Settings } from '../contract.ts'
import { views } from '../contract.ts'
import { predictionSchema } from '../predictions/predictions.ts'
import { claimSchema } from './claim.ts'
import { type MatchSpecification, matchSchema } from './match.ts'
import { besideFile } from './part-files.ts'
import { problemsOf } from './problems.ts'
import { searchSchema } from './search.ts'
import { flatten, isBelow, overlay } from './settings.ts'

/** Fields of the configuration by dotted path. */
const settingsSchema = z.record(z.string().min(1), z.unknown())
/** Settings of an arm, and the field that is solved for. */
export interface ArmSpecification extends Settings {
  readonly match?: MatchSpecification
}
// Settings have any path, so their type has no place for the type of `match`.
const armSchema = z
  .object({ match: matchSchema.optional() })
  .catchall(z.unknown())
  .refine((arm) => !Object.hasOwn(arm, ''), { message: 'has a setting without a path' }) as unknown as z.ZodType<
  ArmSpecification,
  Settings
>
const seedSchema = z.int().nonnegative()

const questionSchema = z
  .strictObject({
    title: z.string().min(1),
    /** The question and how it is measured, in a sentence or two. */
    about: z.string().default(''),
    /** Figures in addition to differences in loss: see `contract.ts`. */
    view: z.enum(views).default('plain'),
    /** The arm with which `arms` are compared. */
    baseline: z.string().optional(),
    arms: z.array(z.string()).min(1).optional(),
    /** Pairs [baseline, arm], instead of baseline and arms. */
    contrasts: z
      .array(z.tuple([z.string(), z.string()]))
      .min(1)
      .optional(),
    /** A claim of the literature: see `claim.ts`. */
    claim: claimSchema.optional(),
    /** Several claims, for the view `witness`. */
    claims: z.array(claimSchema).min(1).optional(),
  })
  .refine(
    ({ baseline, arms, contrasts, view, claims }) =>
      (contrasts === undefined) === (baseline !== undefined && arms !== undefined) ||
      (view === 'witness' && claims !== undefined && baseline === undefined && arms === undefined),
    {
      message: 'needs either baseline and arms, or contrasts (or, with view witness, claims that name their own)',
    },
  )
  .refine(({ claim, claims }) => claim === undefined || claims === undefined, {
    message: 'has both claim and claims (give one claim, or a list)',
  })

/** A short learning-rate sweep for each arm, with the same budget for all. */
const tuneSchema = z.strictObject({
  /** Multiples of the arm's own learning rate. */
  rates: z
    .array(z.number().positive())
    .min(2)
    .default([0.5, 1, 2])
    .refine((rates) => rates.includes(1), { message: "must include 1, the arm's own rate" })
    .refine((rates) => new Set(rates).size === rates.length, { message: 'must not repeat a multiple' }),
  /** Steps of a trial: a number of steps, or if below 1, a share of the arm's own steps. */
  steps: z
    .number()
    .positive()
    .default(0.5)
    .refine((steps) => steps < 1 || Number.isInteger(steps), { message: 'must be a whole number, or a share below 1' }),
  /** Seeds of trials. With a seed of the study, an arm would be compared on the run that its rate was chosen by. */
  seeds: z
    .array(seedSchema)
    .min(1)
    .default([0])
    .refine((seeds) => new Set(seeds).size === seeds.length, { message: 'must not repeat a seed' }),
  /**
   * Seeds of the whole runs that choose between the rate that the trials prefer and the arm's own rate; default: one
   * seed. They must be neither seeds of the study nor of the trials.
   */
  confirm: z
    .array(seedSchema)
    .min(1)
    .refine((seeds) => new Set(seeds).size === seeds.length, { message: 'must not repeat a seed' })
    .optional(),
  /** An arm keeps its own rate unless another rate is better by more than this, in nats a token: less is noise. */
  margin: z.number().nonnegative().default(0.02),
})

export const specificationSchema = z.strictObject({
  title: z.string().min(1).optional(),
  /** The configuration that all arms start from: a preset, or a YAML or JSON file. */
  base: z.string().default('demo'),
  /** Settings of all arms. */
  set: settingsSchema.default({}),
  seeds: z.array(seedSchema).min(1).default([1, 2, 3]),
  /** Settings of each arm, by its name. */
  arms: z.record(z.string().min(1), armSchema.nullable()).default({}),
  /** Capacity rule of the held-out losses that verdicts use; with `train`, an arm is judged at its cost in training. */
  capacity: z.enum(capacityRules).default('train'),
  /**
   * With `anytime`, the intervals of a complete study too hold at every look: for a study that ends when an interval
   * shows something, or that gets more seeds then. Default: Student's, for the seeds of the study.
   */
  intervals: z.enum(['student', 'anytime']).optional(),
  /** A sweep that first finds the best learning rate of each arm. */
  tune: tuneSchema.optional(),
  /** [baseline, arm] whose runs come first and show which effect can be detected. Default: the first contrast. */
  pilot: z.tuple([z.string(), z.string()]).optional(),
  /** More arms: every combination of these values. An arm is named by its values, as in `k=2, factor=1.25`. */
  grid: z.record(z.string().min(1), z.array(z.unknown()).min(1)).default({}),
  /** Shares of the steps at which every arm also ends, each a complete run: see `branches.ts`. Needs the schedule `wsd`. */
  branches: z
    .array(z.number().positive().max(1))
    .min(2, { message: 'expected at least two shares, such as [0.25, 0.5, 1]' })
    .refine((shares) => shares.every((share, i) => i === 0 || share > (shares[i - 1] ?? 0)), {
      message: 'must rise',
    })
    .refine((shares) => shares.at(-1) === 1, { message: 'must end with 1, the whole run' })
    .optional(),
  /** Questions that the report answers. Default: every arm against the first, with the view `sweep`. */
  questions: z.array(questionSchema).min(1).optional(),
  /** What the researcher expects of the questions, written before the first run: see `predictions.ts`. */
  predictions: z.array(predictionSchema).min(1).optional(),
  /** A search for the best settings, instead of a comparison of arms: see `forSearch`. */
  search: searchSchema.optional(),
  /** Other text to evaluate every run on: corpora by name, files, folders, globs. */
  elsewhere: z.array(z.string()).default([]),
  /** Arms whose step time is measured when all runs are done, one arm at a time, taking turns. */
  timings: z.array(z.string()).default([]),
  /** More arms to time, which are not trained because they change only the speed. */
  timedOnly: z.record(z.string().min(1), settingsSchema).default({}),
  /** Arms whose expert specialisation is measured after training, with the first seed. */
  specialise: z.array(z.string()).default([]),
})

/** A specification with its defaults filled in. */
export type Specification = z.output<typeof specificationSchema>
export type SpecificationInput = z.input<typeof specificationSchema>

/**
 * The specification of a file; files of the user's own parts are looked for beside it first.
 * @throws UsageError when the file cannot be read or is no specification; every problem is listed
 */
export async function readSpecification(file: string): Promise<Specification> {
  let text: string
  try {
    text = await readText(file, CONFIG_BYTES)
  } catch (error) {
    throw new UsageError(`cannot read study ${JSON.stringify(file)}: ${(error as Error).message}`)
  }
  const content = readYaml(text, file, 'cannot read study')
  const parsed = specificationSchema.safeParse(content)
  if (parsed.success) return besideFile(parsed.data, file)
  const problems = problemsOf(specificationSchema, parsed.error.issues, content)
  throw new UsageError(`invalid study ${file}:\n  ${problems.join('\n  ')}`)
}

/**
 * Adds settings of the command line (`path=value`) for all arms that do not set the field themselves.
 * @throws UsageError for a text that is not an assignment, or that sets a group to null although an arm sets its fields
 */
export function withAssignments(specification: Specification, sets: readonly string[]): Specification {
  const { arms, grid, timedOnly } = specification
  const fieldsOfArms = [
    ...Object.entries({ ...arms, ...timedOnly }).map(([name, arm]) => {
      const { match, ...settings }: ArmSpecification = arm ?? {}
      return { ...flatten(settings, `arm "${name}"`), ...(match?.by !== undefined && { [match.by]: null }) }
    }),
    flatten(grid, 'grid'),
  ].flatMap(Object.keys)
  let set = flatten(specification.set, 'set')
  for (const [keys, value] of sets.map(parseSet)) {
    const path = keys.join('.')
    const field = fieldsOfArms.find((other) => isBelow(other, path))
    if (value === null && field !== undefined)
      throw new UsageError(
        wording`invalid ${option('set')}: ${path}=null (an arm of the study sets ${field}; set ${path} in a copy of the study)`,
      )
    set = overlay(set, flatten({ [path]: value }, option('set')))
  }
  return { ...specification, set }
}

/**
 * The specification of a search alone: arms, questions and everything else about arms are left out.
 * @throws UsageError if the specification has no search
 */
export function forSearch(specification: Specification): Specification {
  const { title, base, set, seeds, capacity, elsewhere, search } = specification
  if (search === undefined)
    throw new UsageError(
      wording`invalid ${option('search')}: the study has no search (give it one, such as search: { settings: { ${'train.schedule.learningRate: { min: 0.0001, max: 0.01, scale: log } }, configurations: 27, minSteps: 100 })'}`,
    )
  return specificationSchema.parse({
    ...(title !== undefined && { title }),
    base,
    set,
    seeds,
    capacity,
    elsewhere,
    search,
  })
}

/** A specification without its search. */
export function withoutSearch({ search: _, ...specification }: Specification): Specification {
  return specification
}
