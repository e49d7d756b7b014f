/**
 * The specification that a user writes: a YAML file with arms, seeds and questions. This file has its schema;
 * values of configuration fields are checked by the schema of `train` (in grid.ts).
 */
import { z } from 'zod'
import { capacityRules } from '../../core/model/routing/contract.ts'
import { claimSchema, contrastFields } from './claim.ts'

/** Values of configuration fields by path: `{ 'model.moe.k': 2 }`. */
export type Settings = Readonly<Record<string, unknown>>

/**
 * Quantities in which an arm may be equal to another: FLOPs of a token if nothing is dropped, numbers of parameters, and
 * the bytes of weights, gradients and moments of the optimizer.
 */
export const quantities = ['activeFlops', 'totalParameters', 'activeParameters', 'memory'] as const
export type Quantity = (typeof quantities)[number]

/** The figures and tables of a question, in addition to the differences of its contrasts. */
export const views = [
  'plain',
  'sweep',
  'imbalance',
  'capacity',
  'prototypes',
  'attention',
  'scale',
  'convergence',
  'map',
  'witness',
] as const
export type View = (typeof views)[number]

/** Fields of the configuration by dotted path. */
const settingsSchema = z.record(z.string().min(1), z.unknown())
/**
 * Arms that cost as much as another arm. `match: { equal: activeParameters, of: top-1, by: model.hidden }` leaves one
 * whole number of an arm open, and the study solves for it (`grid/matches.ts`): of all values that the schema accepts, it
 * takes the value whose active parameters come nearest to those of the other arm. The difference that remains, because
 * the number is whole, is the *mismatch*.
 *
 * Quantities follow from configurations alone. So a value is the same on every machine and at every start of a study,
 * and the runs of the arm keep their keys. The seconds of a step are no such quantity.
 */
const matchSchema = z.strictObject({
  /** The quantity that both arms have in common. */
  equal: z.enum(quantities).meta({
    refused: {
      seconds:
        'the seconds of a step depend on the machine, so the arm would have another size on every machine; measure both arms with timings, and set the field of the arm yourself',
    },
  }),
  /** The other arm; default: the baseline of the arm. */
  of: z.string().min(1).optional(),
  /** Path of the whole number that is solved for; default: the hidden width of the experts, or of a dense model. */
  by: z.string().min(1).optional(),
})
export type MatchSpecification = z.output<typeof matchSchema>

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

/**
 * A prediction: the researcher writes before the first run which differences a question will show, as a direction or as
 * an interval. The program registers predictions when the study starts (`results/registrations.ts`), and the report
 * compares them with what was found.
 *
 * @example
 * ```yaml
 * predictions:
 *   - { question: Does a second expert help?, expect: better }
 *   - { question: Prototypes or top-2?, from: -0.05, to: -0.01 }
 *   - { question: Does a hash do?, contrasts: [[top-1, hash]], expect: equal, margin: 0.02 }
 * ```
 */
export const predictionSchema = z
  .strictObject({
    /** Title of the question. */
    question: z.string().min(1),
    ...contrastFields,
    /** The expected direction: the loss of the arm is lower than the loss of its baseline, higher, or equal. */
    expect: z.enum(['better', 'worse', 'equal']).optional(),
    /** With `equal`, the largest difference that counts as none; with a direction, the smallest that counts; nats. */
    margin: z.number().nonnegative().optional(),
    /** Ends of the expected difference, loss of the arm minus loss of its baseline, nats a token. */
    from: z.number().optional(),
    to: z.number().optional(),
    /** The reason for the prediction, in a sentence. */
    because: z.string().min(1).optional(),
  })
  .superRefine(({ expect, margin, from, to }, { addIssue }) => {
    const refuse = (message: string, ...path: string[]) => addIssue({ code: 'custom', message, path })
    const ends = [from, to].filter((end) => end !== undefined).length
    if (expect === undefined && ends === 0)
      refuse('needs expect (better, worse or equal), or from and to, the ends of the difference in nats a token')
    else if (expect !== undefined && ends > 0)
      refuse('has both expect and from or to (give a direction, or an interval)')
    else if (ends === 1)
      refuse(`has ${from === undefined ? 'to' : 'from'} alone (give both ends of the interval, from and to)`)
    if (from !== undefined && to !== undefined && from >= to)
      refuse(`must be below to, which is ${to}: negative differences are those of a better arm`, 'from')
    if (margin !== undefined && expect === undefined && ends > 0)
      refuse('belongs to expect, not to from and to', 'margin')
    if (expect === 'equal' && !((margin ?? 0) > 0))
      refuse('needs a margin above 0: no experiment shows that two numbers are exactly equal', 'margin')
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
  /** Shares of the steps at which every arm also ends, each a complete run: see `grid/cells.ts`. Needs the schedule `wsd`. */
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
  /** What the researcher expects of the questions, written before the first run. */
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
export type Search = NonNullable<Specification['search']>
export type Searched = Search['settings'][string]
export type PredictionSpecification = z.output<typeof predictionSchema>
