/** A run: model, data, and how it is trained. Everything that affects the result is here. */
import { z } from 'zod'
import { isServedByPosition, modelSchema } from '../model/config.ts'
import { dataSchema } from './data-config.ts'

const positive = z.int().positive()
const fraction = z.number().min(0).lt(1)

const optimizerSchema = z
  .strictObject({
    kind: z.enum(['adamw', 'adafactor']).default('adamw'),
    beta1: fraction.default(0.9),
    beta2: fraction.default(0.95),
    epsilon: z.number().positive().default(1e-8),
    /** Decoupled; norms, biases, router and embeddings are excluded. */
    weightDecay: z.number().nonnegative().default(0.1),
    /** Largest global gradient norm; 0 = no clipping. */
    clip: z.number().nonnegative().default(1),
  })
  .prefault({})

const scheduleSchema = z
  .strictObject({
    kind: z.enum(['cosine', 'inverse-sqrt', 'constant']).default('cosine'),
    /** Peak learning rate. */
    learningRate: z.number().positive().default(1e-3),
    /** Steps of linear warm-up. */
    warmup: z.int().nonnegative().default(100),
    /** Learning rate at the end of the cosine, as a share of the peak. */
    final: z.number().min(0).max(1).default(0.1),
  })
  .prefault({})

const trainSchema = z.strictObject({
  steps: positive.default(1000),
  /** Sequences in one optimizer step, B. */
  batch: positive.default(16),
  /** The batch is processed in so many equal parts, gradients accumulated. */
  microBatches: positive.default(1),
  optimizer: optimizerSchema,
  schedule: scheduleSchema,
  init: z
    .strictObject({
      /** Standard deviation of a truncated normal is sqrt(scale / fan-in) (Switch Transformers, section 2.4). */
      scale: z.number().positive().default(1),
      /**
       * Deviation of a token's embedding where it enters the first layer: the table's own is this over
       * `model.embeddingScale`; that of learned positions half as much, as in GPT-2.
       */
      embedding: z.number().positive().default(1),
      /**
       * Multiplies the deviation of matrices that write to the residual stream (the output projection of attention,
       * `down` of feed-forward networks): a number, or `depth` for 1/√(2·layers) (GPT-2, section 2.3).
       */
      residual: z.union([z.number().positive(), z.literal('depth')]).default('depth'),
      /**
       * Multiplies the deviation of routers, so that a router's logits begin with it; √0.1 in Switch Transformers,
       * section 2.4. Of 1 to 8, chosen on `demo` and `S` (docs/training.md).
       */
      router: z.number().positive().default(2),
      /** Multiplies the deviation of an untied head. At 1 its logits deviate by 1, which costs half a nat at the start. */
      head: z.number().positive().default(0.25),
    })
    .prefault({}),
  /** Seed of the initial parameters and of random routing. */
  seed: z.int().nonnegative().default(0),
  /** Evaluate every so many steps, and at the end. */
  evalEvery: positive.default(100),
  /** At most so many batches in an evaluation; 0 = all that is held out. */
  evalBatches: z.int().nonnegative().default(0),
  checkpointEvery: positive.default(200),
  /** Checkpoints kept; older ones are removed. */
  keep: positive.default(2),
  /** Per-expert statistics go to routing.jsonl every so many steps. */
  routingEvery: positive.default(10),
  /** Stop after so many steps in a row whose loss or gradient is not finite. */
  maxNonFinite: positive.default(5),
})

export const runSchema = z
  .strictObject({
    model: modelSchema.prefault({}),
    data: dataSchema.prefault({}),
    train: trainSchema.prefault({}),
    runtime: z
      .strictObject({
        device: z.enum(['cpu']).default('cpu'),
        /** Threads; default: the physical cores. */
        threads: positive.optional(),
        /** Precision of matrix products: float32, or bfloat16 factors with float32 sums (needs oneDNN). */
        math: z.enum(['float32', 'bf16']).default('float32'),
      })
      .prefault({}),
  })
  .superRefine((run, context) => {
    if (run.train.batch % run.train.microBatches !== 0)
      context.addIssue({
        code: 'custom',
        path: ['train', 'microBatches'],
        message: `must divide train.batch ${run.train.batch}`,
      })
    const { moe, sequence } = run.model
    const sequences = run.train.batch / run.train.microBatches
    if (!moe || !Number.isInteger(sequences)) return
    const refuse = (message: string) => context.addIssue({ code: 'custom', path: ['model', 'moe', 'groups'], message })
    if ((sequences * sequence) % moe.groups !== 0) refuse('must divide the tokens of a micro-batch')
    else if (isServedByPosition(moe) && sequences % moe.groups !== 0)
      refuse(
        `must divide the ${sequences} sequences of a micro-batch with model.moe.priority "position": a group holds ` +
          'whole sequences (set fewer groups or micro-batches, or priority "choice", "token" or "gate")',
      )
  })

export type RunConfig = z.output<typeof runSchema>
/** What a user writes: every field optional. */
export type RunInput = z.input<typeof runSchema>
export type TrainConfig = RunConfig['train']
