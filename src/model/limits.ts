/**
 * The largest sizes that a configuration may ask for. They are far above any published model. A larger number is a slip
 * of the keyboard, and would take minutes and gigabytes only to be listed.
 */
import { z } from 'zod'

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
  /** Of a loop that is unrolled in the graph. */
  iterations: limited(1000, 'each is a part of the graph of every sparse layer'),
  batch: limited(2 ** 24, 'no published training has nearly as many sequences in a batch'),
  threads: limited(1024, 'threads beyond the cores of a machine only take turns, and each takes memory'),
}
