/**
 * Which rank holds and updates which parameters.
 *
 * Ranks form expert groups of E consecutive ranks. The ranks of a group share the experts of every layer: each holds
 * N/E of them, so there are W/E copies of an expert. All other parameters are on every rank. Of the ranks that have a
 * copy of a tensor, one *owns* it: it keeps the optimizer state and computes the update, then sends the new values to
 * the others (ZeRO stage 1, Rajbhandari et al. 2020).
 *
 * Ranks own *units*: whole experts, and blocks of rows of the other tensors. So the ranks share the update of a large
 * table, and its gradient travels in all directions at once. Units do not depend on the number of ranks: norms are
 * summed by unit, and checkpoints name them, so both are the same on any number of ranks.
 *
 * With some optimizers a whole table is one unit. If its owner received its gradient from all ranks, the others would
 * wait for this one. Therefore several ranks, its *relays*, each add a part of the gradient and pass the sum to the
 * owner; new parameters travel the same way back.
 *
 *   gradients  every rank ─ part i ─► relay i, which adds ─► owner ─ update ─► relay i ─ part i ─► every rank
 *
 * @example Four ranks, `parallel.expert: 2`, eight experts:
 * ```
 * rank       0      1      2      3
 * group      0      0      1      1
 * experts    0-3    4-7    0-3    4-7
 * owns       0, 1   4, 5   2, 3   6, 7     of each layer, and some of the other tensors
 * ```
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { RANGE_START } from '../../../engine/contract/arena.ts'

export interface Layout {
  /** Number of this rank, from 0. */
  readonly rank: number
  /** Number of ranks, W. */
  readonly ranks: number
  /** Number of ranks that share the experts of a layer, E, which divides W. */
  readonly expert: number
  /** Number of parts of a batch whose gradients are added in a tree, P, a multiple of W. */
  readonly shards: number
  /** Number of passes of a shard. */
  readonly passes: number
  /**
   * Number of rows that a rank has room for at first in a layer without capacity, divided by an even load, if experts
   * are shared (`growing-program.ts`).
   */
  readonly headroom: number
  /** Whether sums have the same bits on any number of ranks. */
  readonly reproducible: boolean
  /**
   * Number of floats of a block of rows with one owner, rounded down to whole rows. If it is infinity, a tensor has one
   * owner.
   */
  readonly blockFloats: number
}

/** One process without other ranks. */
export const alone: Layout = {
  rank: 0,
  ranks: 1,
  expert: 1,
  shards: 1,
  passes: 1,
  headroom: 1,
  reproducible: true,
  blockFloats: 2 ** 18,
}

/**
 * `Layout.blockFloats` for an optimizer. Adafactor factors the moments of a whole matrix, and an optimizer of the user's
 * own sees a whole matrix, so only AdamW's matrices are divided into blocks of rows.
 */
export const blockFloatsOf = (optimizer: string): number =>
  optimizer === 'adamw' ? alone.blockFloats : Number.POSITIVE_INFINITY

/**
 * Number of gradients of an expert that a rank keeps: one for each rank that sends it rows, if a step has several
 * passes and must be reproducible, since the gradients of a source are added before the sum over sources. Otherwise it
 * is one, because the program itself sums them.
 */
export const sourcesKept = ({ ranks, expert, shards, passes, reproducible }: Layout): number =>
  reproducible && (shards > ranks || passes > 1) ? expert : 1

/** A part of a share, and the rank that adds its gradients. */
export interface Part {
  /** Number of floats of the tensor before this part, and in it. */
  readonly start: number
  readonly floats: number
  /** The owner of the share, or a relay. */
  readonly adder: number
}

/** Consecutive units with the same owner, of a tensor that is on this rank. */
export interface Share {
  readonly spec: ParameterSpec
  /** The first of these units, and the unit after the last, among the units held here. */
  readonly from: number
  readonly to: number
  /** Number of floats of the tensor before these units, and in them. */
  readonly start: number
  readonly floats: number
  readonly owner: number
  /** Ranks with a copy, the owner included, in order. */
  readonly holders: readonly number[]
  /** The parts in which its gradients are added: one, by the owner, unless it has relays. */
  readonly parts: readonly Part[]
}

/** Number of floats of a row of a tensor, or of an expert if it is stacked. */
export const rowFloats = ({ shape }: ParameterSpec): number => sizeOf(shape) / (shape[0] as number)

/** Number of floats of a unit of a tensor; the last block of rows may have fewer. */
function unitFloats(spec: ParameterSpec, { blockFloats }: Layout): number {
  const { shape, stacked } = spec
  const [size, row] = [sizeOf(shape), rowFloats(spec)]
  if (stacked || size <= blockFloats) return stacked ? row : size
  return Math.max(1, Math.floor(blockFloats / row)) * row
}

/**
 * Number of units after which a range of a tensor is aligned (`RANGE_START`). A share begins at such a unit, because a
 * device cannot update other ranges.
 */
function alignedUnits(spec: ParameterSpec, layout: Layout): number {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
  return RANGE_START / gcd(unitFloats(spec, layout), RANGE_START)
}

/** Number of units of a tensor: its experts, if it is stacked, or its blocks of rows. */
export const unitsOf = (spec: ParameterSpec, layout: Layout): number =>
  Math.ceil(sizeOf(spec.shape) / unitFloats(spec, layout))

/** The place of units `from` to `to` in their tensor, in floats. */
export function placeOf(
  spec: ParameterSpec,
  from: number,
  to: number,
  layout: Layout,
): { start: number; floats: number } {
  const unit = unitFloats(spec, layout)
  return { start: from * unit, floats: Math.min(to * unit, sizeOf(spec.shape)) - from * unit }
}

const range = (count: number, of: (i: number) => number): number[] => Array.from({ length: count }, (_, i) => of(i))

/** Experts of a stacked tensor that are on a rank, of `experts` in all. */
export function heldExperts(
  experts: number,
  { rank, expert }: Pick<Layout, 'rank' | 'expert'>,
): { readonly first: number; readonly count: number } {
  const count = experts / expert
  return { first: (rank % expert) * count, count }
}

/** The specifications of the tensors that a rank holds: stacked tensors have only its experts. */
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
  const tables = evenTables(
    specs.filter(({ stacked }) => !stacked),
    layout,
  )
  let turn = 0
  return specs.flatMap((spec): Share[] => {
    const units = unitsOf(spec, layout)
    const holders = spec.stacked ? copies : everyone
    // Copies take turns, so that tensors with fewer experts than copies do not all have the same owners.
    const first = spec.stacked ? turn++ : 0
    const { owners, relays } = tables.get(spec) ?? {
      owners: copies.map((_, i) => copies[(i + first) % copies.length] as number),
      relays: null,
    }
    const aligned = alignedUnits(spec, layout)
    return ranges(units, aligned, owners).map(({ from, to, rank: owner }) => {
      const place = placeOf(spec, from, to, layout)
      const parts = relays ? partsOf(spec, relays) : [{ ...place, adder: owner }]
      return { spec, from, to, ...place, owner, holders, parts }
    })
  })
}

/** Consecutive ranges of about equal size of `count` items, one for each rank; all begin at a multiple of `aligned`. */
function ranges(count: number, aligned: number, ranks: readonly number[]) {
  const most = Math.ceil(count / aligned)
  const bound = (part: number) => Math.min(count, aligned * Math.floor((most * part) / ranks.length))
  return ranks.map((rank, i) => ({ rank, from: bound(i), to: bound(i + 1) })).filter(({ from, to }) => to > from)
}

const partsOf = ({ shape }: ParameterSpec, relays: readonly number[]): Part[] =>
  ranges(sizeOf(shape), RANGE_START, relays).map(({ from, to, rank }) => {
    return { start: from, floats: to - from, adder: rank }
  })

/** Floats that one rank sends to another. */
interface Flow {
  readonly from: number
  readonly to: number
  readonly floats: number
}

/** The ways of the gradients of a share, until its owner has their sum. */
export const gradientFlows = ({ holders, parts, owner }: Share): Flow[] =>
  parts.flatMap(({ floats, adder }) => {
    const added = holders.filter((holder) => holder !== adder).map((from): Flow => ({ from, to: adder, floats }))
    return adder === owner ? added : [...added, { from: adder, to: owner, floats }]
  })

/** The ways of the new parameters of a share, from its owner until all holders have them. */
export const parameterFlows = ({ holders, parts, owner }: Share): Flow[] =>
  parts.flatMap(({ floats, adder }) => {
    const others = holders.filter((holder) => holder !== adder && holder !== owner)
    const sent = others.map((to): Flow => ({ from: adder, to, floats }))
    return adder === owner ? sent : [{ from: owner, to: adder, floats }, ...sent]
  })

/** The tensors that a rank owns; only the owned experts or rows of them. @param specs All tensors of the model. */
export function ownedSpecs(specs: readonly ParameterSpec[], layout: Layout): ParameterSpec[] {
  const shares = sharesOf(heldSpecs(specs, layout), layout).filter(({ owner }) => owner === layout.rank)
  return shares.map(({ spec, floats }) => {
    const [length = 0, ...inner] = spec.shape
    return { ...spec, shape: [(length * floats) / sizeOf(spec.shape), ...inner] }
  })
}

/** The ranks of a tensor that every rank holds: its owners, and its relays if it is one unit and worth them. */
interface Table {
  readonly owners: readonly number[]
  readonly relays: readonly number[] | null
}

/**
 * Places the largest tensors first, on the ranks that receive the least so far, with at most one owner for each range
 * of units that is aligned. A tensor that is a unit and larger than a rank's even share has as many relays as it has
 * such shares. With two ranks, they would save nothing.
 */
function evenTables(specs: readonly ParameterSpec[], layout: Layout): Map<ParameterSpec, Table> {
  const { ranks } = layout
  const loads = range(ranks, () => 0)
  const add = (rank: number, load: number) => {
    loads[rank] = (loads[rank] as number) + load
  }
  const even = specs.reduce((sum, { shape }) => sum + sizeOf(shape), 0) / ranks
  const tables = new Map<ParameterSpec, Table>()
  for (const spec of specs.toSorted((a, b) => sizeOf(b.shape) - sizeOf(a.shape))) {
    const size = sizeOf(spec.shape)
    const isRelayed = ranks > 2 && size > even && unitsOf(spec, layout) === 1
    const most = isRelayed ? Math.ceil(size / even) : Math.ceil(unitsOf(spec, layout) / alignedUnits(spec, layout))
    const idle = loads.map((load, rank) => ({ load, rank })).sort((a, b) => a.load - b.load)
    const chosen = idle.slice(0, most).map(({ rank }) => rank)
    for (const rank of chosen) add(rank, size / chosen.length)
    const owners = isRelayed ? chosen.slice(0, 1) : chosen
    // An owner receives the sum once, where a relay receives a part from all other ranks.
    if (isRelayed) add(owners[0] as number, size / (ranks - 1))
    tables.set(spec, { owners, relays: isRelayed ? chosen : null })
  }
  return tables
}
