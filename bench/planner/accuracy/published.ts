/**
 * Published measurements that the planner is checked against: runs, their devices, and the printed results. They are
 * in the YAML files of `bench/planner/published`, grouped by system and source. A row of a group has the group's fields
 * and its own; `like` in a model names a model of the planner, whose fields the others replace.
 */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import type { z } from 'zod'
import { modelSchema } from '../../../src/core/model/config.ts'
import type { Program } from '../../../src/tools/plan/inputs/constants.ts'
import { models } from '../../../src/tools/plan/inputs/models.ts'
import { latentSchema, type plannedRunSchema } from '../../../src/tools/plan/inputs/settings.ts'
import { describePlanned } from '../../../src/tools/plan/work/planned-model.ts'

type Planned = z.input<typeof plannedRunSchema>
type PublishedModel = NonNullable<Planned['model']>
type PublishedPlan = NonNullable<Planned['plan']>

export interface PublishedRow {
  readonly id: string
  /**
   * Program and devices that were measured. Rows of a system have errors in common, so the accuracy for a new system is
   * measured on systems of which no row was fitted.
   */
  readonly system: string
  /** True if rules for memory were derived from this row, so that it cannot confirm them. */
  readonly derived?: true
  /** Title and place of the source. */
  readonly source: string
  /** Whether the row was read in the source itself, or second hand in a copy of it. */
  readonly seen: 'read' | 'second hand'
  readonly model: PublishedModel
  /** Name of a cluster family. `devicesPerNode` and `network` are given where the cluster differs from the family. */
  readonly device: string
  readonly devices: number
  readonly devicesPerNode?: number
  /** Bandwidth of a node's network. */
  readonly network?: string
  /** Fields of the device that differ from the family. */
  readonly variant?: { readonly memory?: string; readonly bandwidth?: string; readonly powerLimit?: string }
  /** Sequences of a step. */
  readonly batch: number
  /** Sequences of a micro-batch of a data-parallel rank. */
  readonly micro: number
  readonly plan: PublishedPlan
  readonly published: Published
  /** Assumptions where the source is silent. */
  readonly assumed?: string
}

/** The class of the program of a row. */
export const programOf = ({ plan }: PublishedRow): Program => plan.program ?? 'megatron'

/** The printed result, in the units of the source. */
type Published =
  | { readonly kind: 'seconds'; readonly value: number }
  | { readonly kind: 'tokens per second and device'; readonly value: number }
  | { readonly kind: 'sequences per second'; readonly value: number }
  /**
   * Operations a second and device by Megatron's formula, which counts 4 forward passes of the layers with
   * recomputation and 3 without.
   */
  | { readonly kind: 'Megatron FLOP/s'; readonly value: number; readonly passes: 3 | 4 }
  /**
   * Operations a second and device: 6 for each weight that multiplies a token, and the operations of attention.
   * `causal` counts half of the scores, `whole` all of them.
   */
  | { readonly kind: 'model FLOP/s'; readonly value: number; readonly scores: 'causal' | 'whole' }
  /** Peak of the framework's allocator; excludes what driver and libraries reserve. */
  | { readonly kind: 'allocated bytes'; readonly value: number }
  /** Peak that PyTorch's caching allocator reserved; excludes what driver and libraries reserve. */
  | { readonly kind: 'reserved bytes'; readonly value: number }
  /** Memory in use according to the driver. */
  | { readonly kind: 'used bytes'; readonly value: number }
  /** The run ended for lack of memory; the value is the memory of the device in bytes. */
  | { readonly kind: 'out of memory'; readonly value: number }

type Fields = Readonly<Record<string, unknown>>

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The fields of both objects; where both have a value, the one of `own` is kept. */
const merged = (common: Fields, own: Fields): Fields => ({
  ...common,
  ...Object.fromEntries(
    Object.entries(own).map(([name, value]) => {
      const below = common[name]
      return [name, isFields(below) && isFields(value) ? merged(below, value) : value]
    }),
  ),
})

function rowOf(common: Fields, own: Fields): PublishedRow {
  const row = merged(common, own)
  const { like, ...model } = row.model as Fields
  const known = typeof like === 'string' ? models[like as keyof typeof models] : {}
  return { ...row, model: merged(known, model) } as unknown as PublishedRow
}

const files = ['megatron', 'megatron-tests', 'sharded', 'mixtures', 'bridge', 'nemo', 'maxtext', 'allocated', 'fsdp']

export const publishedRows: readonly PublishedRow[] = files.flatMap((name) => {
  const text = readFileSync(new URL(`../published/${name}.yaml`, import.meta.url), 'utf8')
  const groups = parse(text) as readonly (Fields & { readonly rows?: readonly Fields[] })[]
  return groups.flatMap(({ rows = [{}], ...common }) => rows.map((own) => rowOf(common, own)))
})

/** Seconds of a step from the published time or rate; undefined for memory. */
export function publishedSeconds(row: PublishedRow): number | undefined {
  const { published, model, batch, devices } = row
  const { sequence = 0, layers = 0, width = 0, vocabulary = 0 } = model
  switch (published.kind) {
    case 'seconds':
      return published.value
    case 'tokens per second and device':
      return (batch * sequence) / (published.value * devices)
    case 'sequences per second':
      return batch / published.value
    case 'Megatron FLOP/s': {
      // Formula: Narayanan et al. 2021, section 3.3, equation 3. The head is not recomputed.
      const forward = 24 * batch * sequence * layers * width ** 2 * (1 + sequence / (6 * width))
      const head = 6 * batch * sequence * width * vocabulary
      return (published.passes * forward + head) / (published.value * devices)
    }
    case 'model FLOP/s': {
      const { plan } = row
      const parsed = modelSchema.parse(model)
      const latent = plan.latent ? latentSchema.parse(plan.latent) : null
      const { flopsPerToken, scoreFlopsPerToken } = describePlanned(parsed, latent)
      const counted = flopsPerToken - (published.scores === 'causal' ? scoreFlopsPerToken / 2 : 0)
      return (batch * sequence * counted) / (published.value * devices)
    }
    default:
      return undefined
  }
}
