/** The section `plan` of a run: how it is computed, stored and laid out. `null` leaves a field to the search. */
import { z } from 'zod'
import { runSchema } from '../../../core/config/run-config.ts'
import { type MathPrecision, precisions } from './cluster.ts'

const positive = z.int().positive()
const free = positive.nullable().default(null)

const loadSchema = z
  .strictObject({
    /** Coefficient of variation (standard deviation / mean) of the tokens per expert, in every layer. */
    cv: z.number().nonnegative().default(0),
    /** A run directory of Choir: loads are the mean of the last records in its `routing.jsonl`. */
    run: z.string().min(1).nullable().default(null),
    /** A run directory of Choir with a `ledger.jsonl`: the imbalance of all-to-alls is that of its last steps. */
    ledger: z.string().min(1).nullable().default(null),
  })
  .prefault({})

/** Multi-head latent attention (DeepSeek-V2, section 2.1), which the planner knows and the trainer does not. */
export const latentSchema = z.strictObject({
  /** Width of the compressed queries; null: queries are not compressed. */
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

const planSchema = z
  .strictObject({
    /**
     * Precision of matrix products and activations. With 16 bits, weights have a 16-bit copy too. `float8`: the products
     * of attention's projections, networks and experts in 8 bits with scales, everything else as `bfloat16`.
     */
    precision: z.enum(precisions).default('bfloat16'),
    /** Multi-head latent attention instead of the model's; null: the model's. */
    latent: latentSchema.nullable().default(null),
    /** Precision in which gradients are accumulated and exchanged: float32, or that of activations (`precision`). `both` adds to the latter a float32 copy for the optimizer and, without ZeRO, a flat copy for the exchange (Megatron-LM in 2021). */
    gradients: z.enum(['float32', 'precision', 'both']).default('float32'),
    /** Default: the optimizer of the run. */
    optimizer: z.enum(['adamw', 'adafactor', 'sgd']).nullable().default(null),
    /** Precision of the optimizer's moments; null: that of the run (`train.optimizer.state`). */
    state: z.enum(['float32', 'bfloat16', 'int8']).nullable().default(null),
    /** Whether the optimizer updates float32 originals of 16-bit weights. */
    master: z.boolean().default(true),
    /** `fused` never stores attention scores; `materialized` does, as programs before 2022 did. */
    attention: z.enum(['fused', 'materialized']).default('fused'),
    /** Whether gates multiply the results of experts, which are kept for their gradient, or the hidden activations. */
    gates: z.enum(['results', 'hidden']).default('results'),
    /** Precision of rows on their way to experts; those on their way back are activations. */
    dispatchPrecision: z.enum(['activations', 'float8']).default('activations'),
    /** A row for several experts of a node crosses the network once (`node`), or once for each (`expert`). */
    dispatchTo: z.enum(['expert', 'node']).default('expert'),
    /** Nodes to which the router sends a token at most; null: as many as there are. */
    nodeLimit: positive.nullable().default(null),
    /** Whether norms, activation functions and rotations are single passes (`fused`: own kernels, compilers), or several (`eager`). */
    fusion: z.enum(['fused', 'eager']).default('fused'),
    /** Dropout after attention, scores and networks: adds passes over memory and masks to keep. */
    dropout: z.boolean().default(false),
    /** Move tokens to experts by index (`gather`), or by products with one-hot matrices (`one-hot`, GShard). */
    dispatch: z.enum(['gather', 'one-hot']).default('gather'),
    /**
     * Whether experts multiply the rows of each rank by themselves, as Choir does so that sums have the same order in
     * every layout, and then add up the gradients; otherwise the rows of all ranks at once.
     */
    bySource: z.boolean().default(false),
    /** Activations recomputed in the backward pass: attention scores (`selective`) or whole layers (`full`). */
    recompute: z.enum(['none', 'selective', 'full']).nullable().default(null),
    /** Micro-batches into which a data-parallel rank splits its sequences. */
    microBatches: free,
    /** State kept in host memory: that of the optimizer (`optimizer`), or also weights and gradients (`all`). */
    offload: z.enum(['none', 'optimizer', 'all']).nullable().default('none'),
    /** ZeRO stage: data-parallel ranks shard the optimizer's state (1), also gradients (2), also weights (3). */
    zero: z.int().min(0).max(3).nullable().default(null),
    parallel: z
      .strictObject({
        /** Devices over which the experts of a layer are distributed; divides `data`. */
        expert: free,
        data: free,
        tensor: free,
        pipeline: free,
        /** Devices over which each sequence is divided; not searched. */
        context: positive.default(1),
        /** Devices over which an expert is divided: 1, or null for as many as `tensor`. Then experts are distributed over tensor-parallel ranks too. */
        expertTensor: z.literal(1).nullable().default(null),
      })
      .prefault({}),
    /** Parts into which a pipeline stage is divided (interleaved schedule). */
    virtualStages: positive.default(1),
    /** With tensor parallelism, divide norms and residuals over the sequence. */
    sequenceParallel: z.boolean().default(true),
    /** Share of the backward pass that can hide the exchange of gradients. */
    overlap: z.number().min(0).max(1).default(0.8),
    /** Share of tensor-parallel exchanges that is hidden by products. */
    tensorOverlap: z.number().min(0).max(1).default(0),
    /** Share of a micro-batch's computation that can hide the all-to-alls of another one. */
    allToAllOverlap: z.number().min(0).max(1).default(0),
    /** Share of the exchange of keys and values (context parallelism) that attention hides. */
    contextOverlap: z.number().min(0).max(1).default(0.8),
    /** Whether the device starts recorded graphs of kernels, so that the host never holds it up. */
    graphs: z.boolean().default(false),
    /** How evenly tokens are distributed over experts. */
    load: loadSchema,
    /** Tokens of the whole training. Default: steps × batch × sequence. */
    tokens: z.number().positive().nullable().default(null),
  })
  .prefault({})

export const plannedRunSchema = runSchema.safeExtend({ plan: planSchema })

/** A run and how it is laid out. */
export type PlannedRun = z.output<typeof plannedRunSchema>
export type PlanSettings = PlannedRun['plan']
export type LatentAttention = NonNullable<PlanSettings['latent']>

/** Bytes of a stored number. tf32 is stored as float32, and activations around float8 products as bfloat16. */
export const storedBytes = (precision: MathPrecision): number =>
  precision === 'float32' || precision === 'tf32' ? 4 : 2
