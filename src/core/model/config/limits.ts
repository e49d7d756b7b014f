/**
 * The largest sizes that a configuration may ask for. They are far above any published model. A larger number is a slip
 * of the keyboard, and would take minutes and gigabytes only to be listed.
 */
import { z } from 'zod'

/** The smallest number of float32 with full precision, 2⁻¹²⁶, and the largest, (2 − 2⁻²³)·2¹²⁷. */
const MIN_FLOAT = 2 ** -126
const MAX_FLOAT = (2 - 2 ** -23) * 2 ** 127
export const float32Range = '1.2e-38 to 3.4e38'

/**
 * Whether a positive number is in the range of float32: smaller ones lose digits or become 0, larger ones are infinite.
 */
export const isFloat32 = (value: number): boolean => value >= MIN_FLOAT && value <= MAX_FLOAT

const inFloat32 = (schema: z.ZodNumber): z.ZodNumber =>
  schema.refine((value) => value <= 0 || isFloat32(value), {
    error: `must be from ${float32Range}: a step is computed in float32, where smaller numbers are 0 and larger ones infinite`,
  })

/** Schemas of factors and coefficients that are used in float32. */
export const floats = {
  positive: inFloat32(z.number().positive()),
  nonNegative: inFloat32(z.number().nonnegative()),
}

/** A positive integer of at most `maximum`. Messages about a larger one give the reason. */
const limited = (maximum: number, reason: string) => z.int().positive().max(maximum).meta({ reason })

const published = 'no published model has nearly as many'

export const sizes = {
  vocabulary: limited(2 ** 24, published),
  layers: limited(1000, 'the deepest published models have about a thousand'),
  width: limited(2 ** 20, 'no published model is nearly as wide'),
  heads: limited(2 ** 16, published),
  sequence: limited(2 ** 24, 'a longer one takes gigabytes in every layer'),
  experts: limited(2 ** 16, 'no published model with such routers has nearly as many'),
  /** Iterations of a loop that is unrolled in the graph. */
  iterations: limited(1000, 'each is a part of the graph of every sparse layer'),
  batch: limited(2 ** 24, 'no published training has nearly as many sequences in a batch'),
  threads: limited(1024, 'threads beyond the cores of a machine only take turns, and each takes memory'),
}
