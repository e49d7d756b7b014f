/**
 * The section `plan` of a run, which says how it is computed, stored and laid out. `null` leaves a field to the search.
 */
import { z } from 'zod'
import { runSchema } from '../../../core/config/run-config.ts'
import { parseProbability, parseTokens, probabilityExpected, tokensExpected } from '../../../core/text/amounts.ts'
import { type MathPrecision, precisions } from './cluster.ts'
import { programs } from './constants.ts'
import { seconds } from './quantities.ts'

const positive = z.int().positive()
const free = positive.nullable().default(null)

/** A schema for an amount that is a number, or a text such as `15T` or `90%`. */
const amount = (parse: (text: string) => number | undefined, expected: string) =>
  z.union([z.number(), z.string()]).transform((input, context) => {
    const value = parse(String(input))
    if (value !== undefined) return value
    context.addIssue({ code: 'custom', message: `expected ${expected}` })
    return z.NEVER
  })

const loadSchema = z
  .strictObject({
    /** Coefficient of variation (standard deviation / mean) of the tokens per expert, in every layer. */
    cv: z.number().nonnegative().default(0),
    /**
     * Whether tokens choose experts at random with the probabilities of the loads, so that the tokens of an expert vary
     * by chance. Otherwise each expert gets exactly its load, as if the router counted the tokens.
     */
    sampling: z.boolean().default(true),
    /** A run directory of Choir. Loads are then the mean of the last records in its `routing.jsonl`. */
    run: z.string().min(1).nullable().default(null),
    /** A run directory of Choir with a `ledger.jsonl`. All-to-alls then have the imbalance of its last steps. */
    ledger: z.string().min(1).nullable().default(null),
  })
  .prefault({})

/** Multi-head latent attention (DeepSeek-V2, section 2.1), which the planner knows and the trainer does not. */
export const latentSchema = z.strictObject({
  /** Width of the compressed queries; null if queries are not compressed. */
  queryRank: positive.nullable().default(null),
  /** Width of the compressed keys and values. */
  keyValueRank: positive,
  /** Width of a head's query and key without position. */
  headWidth: positive,
  /** Width of a head's rotated query; all heads share one rotated key. */
  rotaryWidth: positive,
  /** Width of a head's value. */
  valueWidth: positive,
})

/**
 * Modules that the backward pass computes again. The first four drop results inside a module that cost little to
 * compute; the others keep only the input of a module. Megatron-Core names them layernorm, moe_act, core_attn,
 * mla_up_proj; its mlp is `network`, and its moe is `moe`.
 */
const recomputedModules = [
  'norms',
  'activations',
  'scores',
  'latent',
  'attention',
  'network',
  'experts',
  'moe',
] as const
export type RecomputedModule = (typeof recomputedModules)[number]

const planSchema = z
  .strictObject({
    /**
     * Class of the program: `megatron` for programs that manage their own buffers (Megatron, NeMo, DeepSpeed, MaxText,
     * Choir), `fsdp` for programs of PyTorch's fully sharded data parallelism (torchtitan, OLMo-core, LLM Foundry).
     */
    program: z.enum(programs).default('megatron'),
    /**
     * Precision of matrix products and activations. With 16 bits, weights have a 16-bit copy too. With `float8`, the
     * products of attention's projections, networks and experts are in 8 bits with scales, everything else in
     * `bfloat16`.
     */
    precision: z.enum(precisions).default('bfloat16'),
    /** Multi-head latent attention that replaces the model's attention; null keeps the model's. */
    latent: latentSchema.nullable().default(null),
    /**
     * Precision in which gradients are accumulated and exchanged: float32, or the precision of activations
     * (`precision`). `both` uses the precision of activations, with a float32 copy for the optimizer and, without ZeRO,
     * a flat copy for the exchange (Megatron-LM in 2021).
     */
    gradients: z.enum(['float32', 'precision', 'both']).default('float32'),
    /** Optimizer; null for the optimizer of the run. */
    optimizer: z.enum(['adamw', 'adafactor', 'sgd']).nullable().default(null),
    /** Precision of the optimizer's moments; null for the precision of the run (`train.optimizer.state`). */
    state: z.enum(['float32', 'bfloat16', 'int8']).nullable().default(null),
    /** Whether the optimizer updates float32 originals of 16-bit weights. */
    master: z.boolean().default(true),
    /** Kind of attention: `fused` never stores scores; `materialized` does, as programs before 2022 did. */
    attention: z.enum(['fused', 'materialized']).default('fused'),
    /** Whether gates multiply the results of experts, which are kept for their gradient, or the hidden activations. */
    gates: z.enum(['results', 'hidden']).default('results'),
    /** Precision of rows on their way to experts. Rows on their way back have the precision of activations. */
    dispatchPrecision: z.enum(['activations', 'float8']).default('activations'),
    /** Whether a row for several experts of a node crosses the network once (`node`), or once for each (`expert`). */
    dispatchTo: z.enum(['expert', 'node']).default('expert'),
    /** Largest number of nodes to which the router sends a token; null for no limit. */
    nodeLimit: positive.nullable().default(null),
    /**
     * Whether norms, activation functions and rotations are single passes (`fused`, by kernels of their own or a
     * compiler), or several (`eager`).
     */
    fusion: z.enum(['fused', 'eager']).default('fused'),
    /** Whether there is dropout after attention, scores and networks. It adds passes over memory, and masks to keep. */
    dropout: z.boolean().default(false),
    /** Whether tokens move to experts by index (`gather`), or by products with one-hot matrices (`one-hot`, GShard). */
    dispatch: z.enum(['gather', 'one-hot']).default('gather'),
    /**
     * Whether experts multiply the rows of each rank separately and then add up the gradients, as Choir does so that
     * sums have the same order in every layout. Otherwise they multiply the rows of all ranks at once.
     */
    bySource: z.boolean().default(false),
    /**
     * Activations recomputed in the backward pass: attention scores and the like (`selective`), whole layers (`full`),
     * everything but attention and every other product (`operations`: torchtitan's selective checkpointing of
     * operations), or a list of modules.
     */
    recompute: z
      .union([
        z.enum(['none', 'selective', 'operations', 'full']),
        z.array(z.enum(recomputedModules)).min(1).readonly(),
      ])
      .nullable()
      .default(null),
    /** Share of the layers with recomputation, evenly spread: 0.5 for every second layer. */
    recomputeLayers: z.number().positive().max(1).default(1),
    /** How the loss is computed from the logits. */
    crossEntropy: z
      .strictObject({
        /**
         * Whether one kernel reads 16-bit logits and overwrites them with their gradient. `compiled`: a compiler avoids
         * float32 copies, and the gradient has 16-bit memory of its own. Otherwise there are float32 copies of logits
         * and gradient.
         */
        fused: z.union([z.boolean(), z.literal('compiled')]).default(false),
        /**
         * Number of chunks of the tokens of a micro-batch. Logits of one chunk exist at a time: their gradient is
         * computed and multiplied before the next chunk.
         */
        chunks: positive.default(1),
      })
      .prefault({}),
    /**
     * Share of the layers' kept activations that move to host memory after the forward pass and return for the backward
     * pass.
     */
    offloadActivations: z.number().min(0).max(1).default(0),
    /**
     * Storage of weights that are multiplied in float8: in the precision of activations, with one byte (`float8`), or in
     * two copies of a byte and scales (`mxfp8`).
     */
    weights: z.enum(['precision', 'float8', 'mxfp8']).default('precision'),
    /** Number of micro-batches into which a data-parallel rank splits its sequences. */
    microBatches: free,
    /** State kept in host memory: the state of the optimizer (`optimizer`), or also weights and gradients (`all`). */
    offload: z.enum(['none', 'optimizer', 'all']).nullable().default('none'),
    /** ZeRO stage: data-parallel ranks shard the optimizer's state (1), also gradients (2), also weights (3). */
    zero: z.int().min(0).max(3).nullable().default(null),
    /**
     * How gradients are summed and new parameters distributed: by collectives, which divide every tensor over all ranks,
     * or through the `owners` of parts of tensors, as `choir train` does it.
     */
    exchange: z.enum(['collectives', 'owners']).default('collectives'),
    parallel: z
      .strictObject({
        /** Number of devices over which the experts of a layer are distributed; divides `data`. */
        expert: free,
        data: free,
        tensor: free,
        pipeline: free,
        /** Number of devices over which each sequence is divided. */
        context: positive.nullable().default(1),
        /**
         * Number of devices over which an expert is divided: as many as `tensor`, or 1, with which experts are
         * distributed over tensor-parallel ranks too.
         */
        expertTensor: z
          .union([z.literal(1), z.literal('tensor')])
          .nullable()
          .default('tensor'),
        /**
         * Number of adjacent ranks over which ZeRO shards state; the groups hold copies of each other (HSDP). null for
         * all ranks.
         */
        shard: free,
      })
      .prefault({}),
    /** Number of parts into which a pipeline stage is divided (interleaved schedule). */
    virtualStages: positive.nullable().default(1),
    /** Whether tensor-parallel ranks divide norms and residuals over the sequence. */
    sequenceParallel: z.boolean().default(true),
    /** Share of the backward pass that can hide the exchange of gradients. */
    overlap: z.number().min(0).max(1).default(0.8),
    /** Share of tensor-parallel exchanges that is hidden by products. */
    tensorOverlap: z.number().min(0).max(1).default(0),
    /** Share of a micro-batch's computation that can hide the all-to-alls of another micro-batch. */
    allToAllOverlap: z.number().min(0).max(1).default(0),
    /** Share of the exchange of keys and values (context parallelism) that attention hides. */
    contextOverlap: z.number().min(0).max(1).default(0.8),
    /** Whether the device starts recorded graphs of kernels, so that the host never holds it up. */
    graphs: z.boolean().default(false),
    /** Distribution of tokens over experts. */
    load: loadSchema,
    /** Tokens of the whole training, such as 14.8e12 or `15T`; null for steps × batch × sequence. */
    tokens: amount(parseTokens, tokensExpected).nullable().default(null),
    /** Time of training between checkpoints, such as `30 min`; null for the best time (`cost/failures.ts`). */
    checkpointEvery: seconds.nullable().default(null),
    /** Probability with which a layout has to fit into memory, such as 0.9 or `90%`. */
    fitsWith: amount(parseProbability, probabilityExpected).default(0.5),
  })
  .prefault({})

export const plannedRunSchema = runSchema.safeExtend({ plan: planSchema }).superRefine(({ model }, context) => {
  if (model.layer)
    context.addIssue({
      code: 'custom',
      path: ['model', 'layer', 'own'],
      message: 'must be absent: the work of a layer of your own cannot be planned (set model.layer=null)',
    })
})

/** A run with the settings of its plan. */
export type PlannedRun = z.output<typeof plannedRunSchema>
export type PlanSettings = PlannedRun['plan']
export type LatentAttention = NonNullable<PlanSettings['latent']>

/** Whether the program is one of PyTorch FSDP. */
export const isFsdp = ({ plan }: PlannedRun): boolean => plan.program === 'fsdp'

/** The optimizer of a plan, or of its run. */
export const optimizerOf = ({ plan, train }: PlannedRun) => plan.optimizer ?? train.optimizer.kind

/** Bytes of a stored number. tf32 is stored as float32, and activations around float8 products as bfloat16. */
export const storedBytes = (precision: MathPrecision): number =>
  precision === 'float32' || precision === 'tf32' ? 4 : 2
