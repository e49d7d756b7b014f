/** Configuration of a run: model, data, training and runtime. It holds everything that affects the result. */
import { z } from 'zod'
import { floats, sizes } from '../model/config/limits.ts'
import { isServedByPosition } from '../model/config/moe-config.ts'
import { settingsSchema } from '../model/config/plugin-settings.ts'
import { type ModelConfig, modelSchema } from '../model/config.ts'
import { nameMatcher, patternName, patternsOf, withFrozen } from '../model/freeze.ts'
import { ownLayers, settingsProblem } from '../model/own/layer.ts'
import { parameterSpecs } from '../model/parameters.ts'
import { ownRouters, routerProblem } from '../model/routing/own.ts'
import { PLUGIN_ID } from '../plugins.ts'
import { nearestName } from '../text/nearest.ts'
import { dataSchema } from './data-config.ts'
import {
  coefficientProblems,
  optimizerProblems,
  rateProblems,
  replayProblem,
  scheduleProblems,
  vocabularyProblem,
} from './run-rules.ts'

/** Limits of `train.freeze`: no parameter's name is nearly as long, and no model has as many kinds of parameters. */
const [MAX_PATTERN, MAX_PATTERNS] = [200, 200]

const positive = z.int().positive()
/** The weight of the old value in a moving average. */
const fraction = z
  .number()
  .min(0)
  .lt(1)
  .refine((value) => !(value >= 1 - 2 ** -24 && value < 1), {
    error: 'must be below 1 − 2⁻²⁴: in float32 it would be 1, and the average would never move',
  })

const optimizerSchema = z
  .strictObject({
    kind: z.enum(['adamw', 'adafactor', 'own']).meta({ file: './my-optimizer.ts' }).default('adamw'),
    /** Name and hash of the optimizer `own`; set when `kind` is the path of a file. */
    own: z.string().regex(PLUGIN_ID).nullable().default(null),
    /** Settings of the optimizer `own`, by name; it has defaults. */
    settings: settingsSchema.default({}),
    beta1: fraction.default(0.9),
    beta2: fraction.default(0.95),
    epsilon: floats.positive.default(1e-8),
    /** Decoupled weight decay. It is not applied to norms, biases, routers and embeddings. */
    weightDecay: floats.nonNegative.default(0.1),
    /** Weight decay of routed experts; null = `weightDecay`. */
    expertWeightDecay: floats.nonNegative.nullable().default(null),
    /**
     * Type of the two moments of AdamW in memory: `float32`, `bf16` (half the memory), or `int8` (a quarter; in blocks
     * of 256 numbers with a bound each). `bf16` and `int8` are rounded at random and need `runtime.device: cpu`.
     */
    state: z.enum(['float32', 'bf16', 'int8']).default('float32'),
    /** Gradients are clipped to this global norm; 0 = no clipping. */
    clip: floats.nonNegative.default(1),
  })
  .prefault({})

/** Default of `train.schedule.decay`. */
const DECAY = 0.2

const scheduleSchema = z
  .strictObject({
    kind: z
      .enum(['cosine', 'inverse-sqrt', 'constant', 'wsd', 'own'])
      .meta({ file: './my-schedule.ts' })
      .default('cosine'),
    /** Name and hash of the schedule `own`; set when `kind` is the path of a file. */
    own: z.string().regex(PLUGIN_ID).nullable().default(null),
    /** Peak learning rate. */
    learningRate: floats.positive.default(1e-3),
    /** Steps of linear warm-up. */
    warmup: z.int().nonnegative().default(100),
    /** Learning rate at the end of the cosine or the decay, as a share of the peak. */
    final: z.number().min(0).max(1).default(0.1),
    /** Share of the steps, at the end, in which the rate decays; for the kind `wsd`. */
    decay: z.number().min(0).max(1).default(DECAY),
    /**
     * Factor of the learning rate of routed experts (of feed-forward networks and attention; not of the shared expert).
     * Weight decay is a share of the rate, so it has the factor too.
     */
    expertRate: floats.positive.default(1),
    /** Factor of the learning rate of routers; the biases of the `bias` router have `model.moe.biasRate`. */
    routerRate: floats.positive.default(1),
    /**
     * Coefficient of the balancing loss at the last step, as a share of `model.moe.balance.coefficient`, its value at
     * the first step; in between it changes linearly. 0 lets the loss fade out, 1 keeps the coefficient.
     */
    finalBalance: floats.nonNegative.default(1),
  })
  .prefault({})

const trainSchema = z.strictObject({
  steps: positive.default(1000),
  /** Sequences in one optimizer step, B. */
  batch: sizes.batch.default(16),
  /** Number of equal parts that the batch is processed in; their gradients are accumulated. */
  microBatches: positive.default(1),
  optimizer: optimizerSchema,
  schedule: scheduleSchema,
  /**
   * Steps in which routers learn; afterwards they are fixed, so that a token keeps its expert unless its activations
   * change (StableMoE, Dai et al. 2022). Default: all.
   */
  routerSteps: positive.optional(),
  init: z
    .strictObject({
      /** Standard deviation of a truncated normal is sqrt(scale / fan-in) (Switch Transformers, section 2.4). */
      scale: floats.positive.default(1),
      /**
       * Standard deviation of a token's embedding at the input of the first layer. The table's own deviation is this
       * divided by `model.embeddingScale`; learned positions have half of that, as in GPT-2.
       */
      embedding: floats.positive.default(1),
      /**
       * Multiplies the deviation of matrices that write to the residual stream (the output projection of attention,
       * `down` of feed-forward networks): a number, or `depth` for 1/√(2·layers) (GPT-2, section 2.3).
       */
      residual: z.union([floats.positive, z.literal('depth')]).default('depth'),
      /**
       * Multiplies the deviation of routers, which is thus the initial deviation of router logits; √0.1 in Switch
       * Transformers, section 2.4. Chosen from 1 to 8 on `demo` and `S` (docs/configuration.md).
       */
      router: floats.positive.default(2),
      /**
       * Multiplies the deviation of an untied head. At 1 the logits deviate by 1: half a nat more loss at the start.
       */
      head: floats.positive.default(0.25),
    })
    .prefault({}),
  /**
   * Parameters that stay as they are: patterns of names such as `embedding`, `layers.0.*` or `*.router`, where `*` is
   * any text. A pattern also matches everything below the names that it matches.
   */
  freeze: z
    .array(z.string().min(1).max(MAX_PATTERN, { abort: true }))
    .max(MAX_PATTERNS, { abort: true })
    .default([]),
  /** Seed of the initial parameters and of random routing. */
  seed: z.int().nonnegative().default(0),
  /** Steps between evaluations; the last step is always evaluated. */
  evalEvery: positive.default(100),
  /** Maximum number of batches in an evaluation; 0 = all held-out text. */
  evalBatches: z.int().nonnegative().default(0),
  checkpointEvery: positive.default(200),
  /** Number of newest checkpoints to keep; older ones are removed. */
  keep: positive.default(2),
  /** Steps between records of per-expert statistics in routing.jsonl. */
  routingEvery: positive.default(10),
  /** Stop after this many consecutive steps whose loss or gradient is not finite. */
  maxNonFinite: positive.default(5),
})

/** How the processes of a training, its ranks, share the work. A run keeps its results on any number of them. */
const parallelSchema = z
  .strictObject({
    /** Ranks that share the experts of a layer (expert parallelism); must divide the experts. */
    expert: positive.default(1),
    /** Copies of each expert, to check the layout: ranks / expert. */
    data: positive.optional(),
    /**
     * Equal parts of the batch whose gradients are computed separately and added in a fixed tree, a multiple of the
     * ranks; `train.microBatches` are parts of a shard. Default: the number of ranks when the run starts.
     */
    shards: positive.optional(),
    /**
     * Number of rows that a rank has room for at first in a layer without capacity, relative to an even load, if ranks
     * share the experts. If more rows arrive, the rank takes more memory and goes on. With a capacity there is always
     * room.
     */
    headroom: z.number().min(1).default(2),
    /**
     * Whether a step has the same bits on any number of ranks: gradients of shards are added in a fixed tree. Otherwise
     * a rank adds its shards one after the other, without partial sums. Its experts then multiply the rows of all ranks
     * at once, which is faster if each rank sends few rows, and keep one gradient instead of one for each rank.
     */
    reproducible: z.boolean().default(true),
    /** Whether gradients and new parameters travel while the ranks compute, or between the passes. */
    overlap: z.boolean().default(true),
    /**
     * Whether to write `ledger.jsonl`: how many rows and bytes each rank sends to each other rank for the experts of
     * every layer in every step. It shows causes of slow exchanges, and `choir plan --ledger` reads it; needs `expert`
     * above 1.
     */
    ledger: z.boolean().default(false),
  })
  .prefault({})

export const runSchema = z
  .strictObject({
    model: modelSchema.prefault({}),
    data: dataSchema.prefault({}),
    train: trainSchema.prefault({}),
    parallel: parallelSchema,
    runtime: z
      .strictObject({
        device: z.enum(['cpu', 'webgpu']).default('cpu'),
        /** Number of threads; default: the number of physical cores. */
        threads: sizes.threads.optional(),
        /**
         * Precision of matrix products: float32, bfloat16 factors with float32 sums (`bf16`, needs oneDNN), or f16
         * factors and activations with float32 sums (`f16`, needs `device: webgpu` and a GPU with f16).
         */
        math: z.enum(['float32', 'bf16', 'f16']).default('float32'),
      })
      .prefault({}),
  })
  .superRefine((run, context) => {
    const { shards = 1, expert } = run.parallel
    if (run.train.batch % shards !== 0)
      context.addIssue({
        code: 'custom',
        path: ['parallel', 'shards'],
        message: `must divide train.batch ${run.train.batch}`,
      })
    else if ((run.train.batch / shards) % run.train.microBatches !== 0)
      context.addIssue({
        code: 'custom',
        path: ['train', 'microBatches'],
        message:
          shards === 1
            ? `must divide train.batch ${run.train.batch}`
            : `must divide the ${run.train.batch / shards} sequences of a shard`,
      })
    if (run.runtime.math === 'f16' && run.runtime.device !== 'webgpu')
      context.addIssue({
        code: 'custom',
        path: ['runtime', 'math'],
        message:
          'must be "float32" or "bf16" with runtime.device "cpu": f16 is for GPUs (use runtime.device "webgpu", or runtime.math "float32")',
      })
    for (const problem of rateProblems(run.train)) context.addIssue({ code: 'custom', ...problem })
    for (const problem of coefficientProblems(run.model, run.train.schedule))
      context.addIssue({ code: 'custom', ...problem })
    const replay = replayProblem(run)
    if (replay) context.addIssue({ code: 'custom', path: ['data', 'replay'], message: replay })
    const small = vocabularyProblem(run)
    if (small) context.addIssue({ code: 'custom', path: ['model', 'vocabulary'], message: small })
    for (const problem of optimizerProblems(run.train.optimizer, run.runtime))
      context.addIssue({ code: 'custom', ...problem })
    const { schedule } = run.train
    for (const problem of scheduleProblems(schedule)) context.addIssue({ code: 'custom', ...problem })
    if (schedule.decay !== DECAY && schedule.kind !== 'wsd' && schedule.kind !== 'own')
      context.addIssue({
        code: 'custom',
        path: ['train', 'schedule', 'decay'],
        message: `must be ${DECAY} (the default) with train.schedule.kind "${schedule.kind}": only "wsd" has a decay of this share`,
      })
    const { moe, sequence } = run.model
    if (expert > 1 && (!moe || moe.experts % expert !== 0))
      context.addIssue({
        code: 'custom',
        path: ['parallel', 'expert'],
        message: moe ? `must divide model.moe.experts ${moe.experts}` : 'must be 1 for a dense model',
      })
    if (run.parallel.ledger && expert === 1)
      context.addIssue({
        code: 'custom',
        path: ['parallel', 'ledger'],
        message: 'must be false with parallel.expert 1, since nothing is sent for experts',
      })
    const router = routerProblem(run.model)
    if (router) context.addIssue({ code: 'custom', path: ['model', 'moe', router.field], message: router.message })
    const settings = settingsProblem(run.model)
    if (settings !== null) context.addIssue({ code: 'custom', path: ['model', 'layer', 'settings'], message: settings })
    const frozen = !router && settings === null ? freezeProblem(run) : undefined
    if (frozen) context.addIssue({ code: 'custom', path: ['train', 'freeze'], message: frozen })
    const sequences = sequencesOfPass(run)
    if (!moe || !Number.isInteger(sequences)) return
    const refuse = (message: string) => context.addIssue({ code: 'custom', path: ['model', 'moe', 'groups'], message })
    if ((sequences * sequence) % moe.groups !== 0) refuse('must divide the tokens of a micro-batch')
    else if (isServedByPosition(moe) && sequences % moe.groups !== 0)
      refuse(
        `must divide the ${sequences} sequences of a micro-batch with model.moe.priority "position": a group holds ` +
          'whole sequences (set fewer groups or micro-batches, or priority "choice", "token" or "gate")',
      )
  })

/** Why `train.freeze` is wrong: a pattern matches nothing, or nothing is left to train. */
function freezeProblem({ model, train }: { model: ModelConfig; train: { freeze: string[] } }): string | undefined {
  if (train.freeze.length === 0) return undefined
  // The dashboard reads runs whose router or layer it does not load.
  const [router, layer] = [model.moe?.own, model.layer?.own]
  if ((router && !ownRouters.has(router)) || (layer && !ownLayers.has(layer))) return undefined
  const specs = parameterSpecs(model)
  const names = specs.map(patternName)
  const idle = train.freeze.find((pattern) => !names.some(nameMatcher(pattern)))
  if (idle === undefined)
    return withFrozen(specs, train.freeze).every(({ frozen }) => frozen) ? 'leaves no parameter to train' : undefined
  const near = nearestName(idle, patternsOf(specs))
  const hint = near === undefined ? 'choir inspect lists the names' : `did you mean "${near}"?`
  return `"${idle}" matches no parameter of this model; ${hint}`
}

/** Sequences of a pass: one micro-batch of one shard of a batch. Capacity is enforced over the tokens of a pass. */
export const sequencesOfPass = ({
  train,
  parallel,
}: {
  readonly train: { readonly batch: number; readonly microBatches: number }
  readonly parallel: { readonly shards?: number | undefined }
}): number => train.batch / (parallel.shards ?? 1) / train.microBatches

export type RunConfig = z.output<typeof runSchema>
/** A configuration before defaults are filled in: every field is optional. */
export type RunInput = z.input<typeof runSchema>
export type TrainConfig = RunConfig['train']
