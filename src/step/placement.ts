/**
 * Which rank holds and updates which parameters.
 *
 * Ranks form expert groups of E consecutive ranks. The ranks of a group share the experts of every layer: each holds
 * N/E of them, so there are W/E copies of an expert. All other parameters are on every rank. Of the ranks that have a
 * copy of a tensor, one *owns* it: it keeps the optimizer state and computes the update, then sends the new values to
 * the others (ZeRO stage 1, Rajbhandari et al. 2020). Owned are whole tensors and whole experts, because Adafactor and
 * checkpoints need them whole.
 *
 * @example Four ranks, `parallel.expert: 2`, eight experts:
 * ```
 * rank       0      1      2      3
 * group      0      0      1      1
 * experts    0-3    4-7    0-3    4-7
 * owns       0, 1   4, 5   2, 3   6, 7     of each layer, and some of the other tensors
 * ```
 */
import { sizeOf } from '../graph/shape.ts'
import type { ParameterSpec } from '../model/parameters.ts'

export interface Layout {
  /** This rank, from 0. */
  readonly rank: number
  /** Number of ranks, W. */
  readonly ranks: number
  /** Ranks that share the experts of a layer, E; divides W. */
  readonly expert: number
  /** Parts of a batch, each with its own gradient, P; a multiple of W. */
  readonly shards: number
  /** Passes of a shard. */
  readonly passes: number
  /** Rows that a rank has room for in a layer without capacity, over an even load, if experts are shared. */
  readonly headroom: number
  /** Whether sums have the same bits on any number of ranks. */
  readonly reproducible: boolean
}

/** One process without other ranks. */
export const alone: Layout = { rank: 0, ranks: 1, expert: 1, shards: 1, passes: 1, headroom: 1, reproducible: true }

/**
 * Gradients of an expert that a rank keeps: one for each rank that sends it rows, if a step has several passes and must
 * be reproducible, since those of a source are added before the sum over sources. Else the program itself sums them.
 */
export const sourcesKept = ({ ranks, expert, shards, passes, reproducible }: Layout): number =>
  reproducible && (shards > ranks || passes > 1) ? expert : 1

/** A tensor of this rank (`from` 0, `to` 1), or some of its experts of a stacked one, with the same owner. */
export interface Share {
  readonly spec: ParameterSpec
  /** Experts among those held here. */
  readonly from: number
  readonly to: number
  readonly owner: number
  /** Ranks with a copy, the owner included, in order. */
  readonly holders: readonly number[]
}

const range = (count: number, of: (i: number) => number): number[] => Array.from({ length: count }, (_, i) => of(i))

/** Experts of a stacked tensor that are on a rank, of `experts` in all. */
export function heldExperts(
  experts: number,
  { rank, expert }: Layout,
): { readonly first: number; readonly count: number } {
  const count = experts / expert
  return { first: (rank % expert) * count, count }
}

/** The specifications of the tensors that a rank holds: stacked ones have its experts only. */
export function heldSpecs(specs: readonly ParameterSpec[], layout: Layout): ParameterSpec[] {
  if (layout.expert === 1) return [...specs]
  return specs.map((spec) => {
    if (!spec.stacked) return spec
    const [experts = 0, ...inner] = spec.shape
    return { ...spec, shape: [heldExperts(experts, layout).count, ...inner] }
  })
}

/** The shares of all tensors that this rank holds. @param specs As returned by {@link heldSpecs}. */
export function sharesOf(specs: readonly ParameterSpec[], layout: Layout): Share[] {
  const { rank, ranks, expert } = layout
  const everyone = range(ranks, (r) => r)
  const copies = range(ranks / expert, (d) => d * expert + (rank % expert))
  const ownerOf = evenOwners(
    specs.filter(({ stacked }) => !stacked),
    ranks,
  )
  let turn = 0
  return specs.flatMap((spec): Share[] => {
    if (!spec.stacked) return [{ spec, from: 0, to: 1, owner: ownerOf.get(spec) ?? 0, holders: everyone }]
    const [held = 0] = spec.shape
    const first = turn++
    const bound = (copy: number) => Math.floor((held * copy) / copies.length)
    // Copies take turns, so that fewer experts than copies do not always have the same owners.
    return copies.flatMap((_, i) => {
      const [from, to] = [bound(i), bound(i + 1)]
      const owner = copies[(i + first) % copies.length] as number
      return to > from ? [{ spec, from, to, owner, holders: copies }] : []
    })
  })
}

/** The tensors that a rank owns; of a stacked one, only its owned experts. @param specs All tensors of the model. */
export function ownedSpecs(specs: readonly ParameterSpec[], layout: Layout): ParameterSpec[] {
  const shares = sharesOf(heldSpecs(specs, layout), layout).filter(({ owner }) => owner === layout.rank)
  return shares.map(({ spec, from, to }) =>
    spec.stacked ? { ...spec, shape: [to - from, ...spec.shape.slice(1)] } : spec,
  )
}

/** The largest tensors first, each to the rank that has the least so far. */
function evenOwners(specs: readonly ParameterSpec[], ranks: number): Map<ParameterSpec, number> {
  const loads = range(ranks, () => 0)
  const owners = new Map<ParameterSpec, number>()
  for (const spec of specs.toSorted((a, b) => sizeOf(b.shape) - sizeOf(a.shape))) {
    const owner = loads.indexOf(Math.min(...loads))
    loads[owner] = (loads[owner] as number) + sizeOf(spec.shape)
    owners.set(spec, owner)
  }
  return owners
}
