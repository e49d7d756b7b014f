/** A published measurement: what was run, on what, and what was printed. */
import type { z } from 'zod'
import type { plannedRunSchema } from '../inputs/settings.ts'

type Planned = z.input<typeof plannedRunSchema>
export type PublishedModel = NonNullable<Planned['model']>
export type PublishedPlan = NonNullable<Planned['plan']>

export interface PublishedRow {
  readonly id: string
  /** Constants were chosen on `fit` rows; `test` rows were not looked at for that. */
  readonly role: 'fit' | 'test'
  /** Title and place of the source. */
  readonly source: string
  /** Known from the source itself, from someone who copied it, or from our reference without its page. */
  readonly seen: 'read' | 'second hand'
  readonly model: PublishedModel
  /** A kind of device, and how the cluster differs from the one by that name. */
  readonly device: string
  readonly devices: number
  readonly devicesPerNode?: number
  /** Bytes a second of a node's network, where it differs. */
  readonly network?: string
  /** Sequences of a step, and of a micro-batch of a data-parallel rank. */
  readonly batch: number
  readonly micro: number
  readonly plan: PublishedPlan
  readonly published: Published
  /** What the source does not say and is taken to be so. */
  readonly assumed?: string
}

/** What was printed, in the terms of the source. */
export type Published =
  | { readonly kind: 'seconds'; readonly value: number }
  | { readonly kind: 'tokens per second and device'; readonly value: number }
  | { readonly kind: 'sequences per second'; readonly value: number }
  /**
   * Operations a second and device by Megatron's formula, 4 or 3 forward passes of the layers: with or without
   * those of recomputation.
   */
  | { readonly kind: 'Megatron FLOP/s'; readonly value: number; readonly passes: 3 | 4 }
  /** What the framework's allocator held at most: without what the driver and libraries reserve. */
  | { readonly kind: 'allocated bytes'; readonly value: number }
  /** What the driver says: all that nobody else can have. */
  | { readonly kind: 'used bytes'; readonly value: number }

/** A GPT: networks of four times the width, GELU, layer norm, learned positions. */
export function gpt(
  layers: number,
  width: number,
  heads: number,
  vocabulary: number,
  sequence: number,
  over: PublishedModel = {},
): PublishedModel {
  const shape = { layers, width, heads, vocabulary, sequence, hidden: 4 * width }
  return { ...shape, positions: 'learned', norm: 'layer', moe: null, ...over }
}

/** Seconds of a step that a published rate of computing amounts to; undefined for memory. */
export function publishedSeconds({ published, model, batch, devices }: PublishedRow): number | undefined {
  const { sequence = 0, layers = 0, width = 0, vocabulary = 0 } = model
  switch (published.kind) {
    case 'seconds':
      return published.value
    case 'tokens per second and device':
      return (batch * sequence) / (published.value * devices)
    case 'sequences per second':
      return batch / published.value
    case 'Megatron FLOP/s': {
      // Narayanan et al. 2021, section 3.3, equation 3; the head has no recomputation.
      const forward = 24 * batch * sequence * layers * width ** 2 * (1 + sequence / (6 * width))
      const head = 6 * batch * sequence * width * vocabulary
      return (published.passes * forward + head) / (published.value * devices)
    }
    default:
      return undefined
  }
}
