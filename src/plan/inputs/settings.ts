/** What a plan says beside the run: how it is computed, stored and laid out. `null` leaves a choice to the search. */
import { z } from 'zod'
import { runSchema } from '../../config/run-config.ts'

const positive = z.int().positive()
const free = positive.nullable().default(null)

const loadSchema = z
  .strictObject({
    /** Coefficient of variation (deviation / mean) of the tokens that experts are chosen by, in every layer. */
    cv: z.number().nonnegative().default(0),
    /** A run directory of Choir: loads are those of its `routing.jsonl`, averaged over the last records. */
    run: z.string().min(1).nullable().default(null),
  })
  .prefault({})

const planSchema = z
  .strictObject({
    /** Factors of matrix products and activations; with 16 bits, weights have a copy of 16 bits too. */
    precision: z.enum(['float32', 'tf32', 'float16', 'bfloat16']).default('bfloat16'),
    /** Gradients are accumulated and exchanged in float32, or as `precision` stores activations; `both`: so, with a copy in float32 for the optimizer and, without ZeRO, a flat one for the exchange (Megatron-LM in 2021). */
    gradients: z.enum(['float32', 'precision', 'both']).default('float32'),
    /** Default: that of the run. */
    optimizer: z.enum(['adamw', 'adafactor', 'sgd']).nullable().default(null),
    /** Precision of the optimizer's moments. */
    state: z.enum(['float32', 'bfloat16', 'int8']).default('float32'),
    /** Whether 16-bit weights have a float32 original that the optimizer updates. */
    master: z.boolean().default(true),
    /** `fused` never stores attention scores; `materialized` does, as programs before 2022 did. */
    attention: z.enum(['fused', 'materialized']).default('fused'),
    /** Dropout after attention, scores and networks: more passes, and masks to keep. */
    dropout: z.boolean().default(false),
    /** Tokens go to experts by indices (`gather`), or by products with one-hot matrices (`one-hot`, GShard). */
    dispatch: z.enum(['gather', 'one-hot']).default('gather'),
    /** Activations computed again in the backward pass: `selective`, attention scores; `full`, all of a layer. */
    recompute: z.enum(['none', 'selective', 'full']).nullable().default(null),
    /** Parts that a data-parallel rank processes its sequences in. */
    microBatches: free,
    /** State of the optimizer (`optimizer`), or weights and gradients too (`all`), in the host's memory. */
    offload: z.enum(['none', 'optimizer', 'all']).nullable().default('none'),
    /** Data-parallel ranks that divide the optimizer's state (1), gradients too (2), weights too (3); ZeRO. */
    zero: z.int().min(0).max(3).nullable().default(null),
    parallel: z
      .strictObject({
        /** Devices that share out the experts of a layer; divides `data`. */
        expert: free,
        data: free,
        tensor: free,
        pipeline: free,
      })
      .prefault({}),
    /** Parts of the layers that a pipeline stage has in turn (interleaved schedule). */
    virtualStages: positive.default(1),
    /** With tensor parallelism, norms and residuals are shared out over the sequence. */
    sequenceParallel: z.boolean().default(true),
    /** Share of the backward pass that can hide the exchange of gradients. */
    overlap: z.number().min(0).max(1).default(0.8),
    /** Share of tensor parallelism's exchanges that is hidden behind the products beside them. */
    tensorOverlap: z.number().min(0).max(1).default(0),
    /** How evenly tokens fall on experts. */
    load: loadSchema,
    /** Tokens of the whole training; default: steps × batch × sequence. */
    tokens: z.number().positive().nullable().default(null),
  })
  .prefault({})

export const plannedRunSchema = runSchema.safeExtend({ plan: planSchema })

/** A run and how it is laid out. */
export type PlannedRun = z.output<typeof plannedRunSchema>
export type PlanSettings = PlannedRun['plan']

/** Bytes of a number stored in a precision of products: factors of tf32 are stored as float32. */
export const storedBytes = (precision: PlanSettings['precision']): number =>
  precision === 'float16' || precision === 'bfloat16' ? 2 : 4
