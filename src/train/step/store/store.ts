/**
 * Flat memory of a model: parameters, gradients and optimizer state, in banks (`bank.ts`), placed by `place-tensors.ts`.
 *
 * Tensors are in the same order in each region of a bank. The regions of optimizer state have only the tensors that
 * this rank owns (`placement.ts`); the gradient of an expert may have a part for each source rank, [n, E, ...], and
 * partial sums of gradients have regions of their own if there are several shards. Tensors with weight decay come
 * first, so in one process the optimizer sees two plain ranges (`parameter-ranges.ts`) and needs no layers. A model larger than one arena has
 * several banks; a tensor never crosses from one to the next.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { expertName, type ParameterSpec } from '../../../core/model/parameters.ts'
import type { Arena, ArenaRange } from '../../../engine/contract/arena.ts'
import { type CompactState, momentLayout } from '../../../engine/contract/moments.ts'
import { type Bank, BESIDE_BYTES, type BorrowedScratch, type Memory, paddedFloats, type Regions } from './bank.ts'
import { partialSums } from './gradient-tree.ts'
import { type Beside, FloatParameters, type ModelStore, type TracedParameters } from './model-store.ts'
import { momentFloats } from './moment-floats.ts'
import { placeTensors, type TensorLocation } from './place-tensors.ts'
import {
  alone,
  heldExperts,
  heldSpecs,
  type Layout,
  placeOf,
  type Share,
  sharesOf,
  sourcesKept,
  unitsOf,
} from './placement.ts'

/** A range of parameters in a bank, and where its gradients lie; offsets and count are in floats. */
export interface Piece {
  readonly arena: Arena
  readonly parameters: number
  readonly gradients: number
  readonly count: number
}

/** A unit (`placement.ts`): an expert, or a block of rows of another tensor. */
export interface Unit extends Piece {
  /** Index among all units of the model, whichever rank owns them. */
  readonly index: number
  /** Name of the tensor. */
  readonly name: string
}

export class ParameterStore implements ModelStore {
  /** Tensors on this rank; a stacked tensor has only the experts that the rank holds. */
  readonly specs: readonly ParameterSpec[]
  readonly layout: Layout
  /** Shares of the tensors on this rank, whichever rank owns them. */
  readonly shares: readonly Share[]
  /** Index of the first unit of each tensor, whichever rank owns it, and the number of its units. */
  private readonly unitsOfModel = new Map<string, { readonly first: number; readonly count: number }>()
  /** Number of regions of optimizer state in each bank. */
  readonly momentRegions: number
  private readonly banks: readonly Bank[]
  /** In the order of the tensors in memory. */
  private readonly locations: ReadonlyMap<string, TensorLocation>
  /** Number of gradients kept of an expert: {@link sourcesKept}. */
  private readonly sources: number
  private readonly compact: CompactState | null

  /**
   * @param runtime Allocates the arenas.
   * @param specs All tensors of the model.
   * @param moments Number of regions for optimizer state of one number per parameter; or the kind of compact moments,
   * or the number of floats of the state of a share, for which there is one region; null if there are no gradients
   * either.
   * @param scratch Number of floats of scratch memory in each bank.
   * @throws UsageError if the tensors need more than the memory of the machine
   */
  constructor(
    runtime: Memory,
    specs: readonly ParameterSpec[],
    moments: number | CompactState | ((share: Share) => number) | null,
    scratch = 0,
    layout: Layout = alone,
  ) {
    this.specs = heldSpecs(specs, layout)
    this.layout = layout
    this.shares = sharesOf(this.specs, layout)
    this.sources = sourcesKept(layout)
    let first = 0
    for (const spec of specs) {
      const count = unitsOf(spec, layout)
      this.unitsOfModel.set(spec.name, { first, count })
      first += count
    }
    this.compact = typeof moments === 'string' ? moments : null
    const stateOf = typeof moments === 'function' ? moments : (of: Share) => momentFloats(of, this.compact, layout)
    const owned = new Map(this.trainedShares().map((share) => [share.spec, stateOf(share)]))
    this.momentRegions = typeof moments === 'number' ? moments : moments === null ? 0 : 1
    const { banks, locations } = placeTensors(runtime, this.specs, {
      gradients: (spec) => this.gradientFloats(spec),
      moments: (spec) => owned.get(spec) ?? 0,
      gradientRegions: moments === null ? 0 : 1 + partialSums(layout),
      momentRegions: this.momentRegions,
      scratch,
      beside: moments === null && scratch > 0 ? BESIDE_BYTES / 4 : 0,
    })
    this.banks = banks
    this.locations = locations
  }

  /** The parameters in each bank with the padding between them, from the beginning of its arena on. */
  parameterRegions(): ArenaRange[] {
    return this.banks.map(({ arena, regions }) => ({ arena, start: 0, count: regions.parameters }))
  }

  /** The values of a parameter, or of one expert of a stacked parameter. */
  parameter(name: string, expert: number | null = null): ArenaRange {
    const { spec, bank, offset } = this.location(name)
    const { arena } = bank
    if (expert === null) return { arena, start: offset, count: sizeOf(spec.shape) }
    return { arena, start: offset + expert * expertFloats(spec), count: expertFloats(spec) }
  }

  trace(): TracedParameters {
    return new FloatParameters(this)
  }

  /** The gradient of a parameter, or of one expert; with several sources, only of one expert: see {@link parts}. */
  gradient(name: string, expert: number | null = null): ArenaRange {
    const { spec } = this.location(name)
    if (expert === null && this.isApart(spec)) throw new Error(`internal: the gradient of ${name} is kept by source`)
    return { ...this.parts(name, expert), count: expert === null ? sizeOf(spec.shape) : expertFloats(spec) }
  }

  /**
   * All parts of a gradient: the gradients of its sources, if they are kept, [n, E, ...], or [E, ...] of one expert.
   */
  parts(name: string, expert: number | null = null): ArenaRange {
    const { spec, bank, gradient } = this.location(name)
    const sources = spec.stacked ? this.sources : 1
    const { arena } = bank
    const start = bank.gradients() + gradient
    if (expert === null) return { arena, start, count: sizeOf(spec.shape) * sources }
    const count = expertFloats(spec) * sources
    return { arena, start: start + expert * count, count }
  }

  /** Optimizer state number `index` of the owned part of a parameter. The range is empty if this rank owns no part. */
  moment(name: string, index: number): ArenaRange {
    const { bank, owned } = this.location(name)
    return { arena: bank.arena, start: bank.moments(index) + (owned?.offset ?? 0), count: owned?.floats ?? 0 }
  }

  /** The compact moments of a unit of a trained share, by its place in the tensor. */
  compactMoments({ spec, from }: Share, unit: number): ArenaRange {
    const { compact, layout } = this
    if (!compact) throw new Error('internal: moments are not compact')
    const floats = (of: number) => momentLayout(compact, placeOf(spec, of, of + 1, layout).floats).floats
    // All units but the last of a tensor are of the same size.
    const { arena, start } = this.moment(spec.name, 0)
    return { arena, start: start + (unit - from) * floats(from), count: floats(unit) }
  }

  /** Bytes of all arenas, scratch memory included. */
  get byteLength(): number {
    return this.banks.reduce((sum, { arena }) => sum + arena.byteLength, 0)
  }

  /** Bytes of all arenas by region; `gradients` includes partial sums, and `scratch` the padding to whole pages. */
  get regionBytes(): { parameters: number; gradients: number; moments: number; scratch: number } {
    const sum = (floats: (regions: Regions) => number) =>
      4 * this.banks.reduce((total, { regions }) => total + floats(regions), 0)
    const parameters = sum((regions) => regions.parameters)
    const gradients = sum((regions) => regions.gradientRegions * regions.gradients)
    const moments = sum((regions) => regions.momentRegions * regions.moments)
    return { parameters, gradients, moments, scratch: this.byteLength - parameters - gradients - moments }
  }

  /**
   * Allocates scratch memory in the arena of a parameter. Returns its offset and the offset of the gradient, in floats.
   */
  allocateScratch(name: string, floats: number): { arena: Arena; gradient: number; scratch: number } {
    const { bank, gradient } = this.location(name)
    const scratch = bank.allocate(floats)
    if (scratch === null) throw new Error(`internal: no scratch memory is left in the bank of ${name}`)
    return { arena: bank.arena, gradient: bank.gradients() + gradient, scratch }
  }

  /** Borrows scratch memory; null if the tensors need several arenas or too little is left. */
  borrowScratch(floats: number): BorrowedScratch | null {
    const [bank, ...rest] = this.banks
    return bank && rest.length === 0 ? bank.borrow(floats) : null
  }

  /** Memory in the arenas of the parameters for kernels of programs in other arenas. */
  get beside(): Beside {
    return this.banks.flatMap(({ beside }) => beside ?? [])
  }

  private location(name: string): TensorLocation {
    const location = this.locations.get(name)
    if (!location) throw new Error(`internal: no parameter ${name}`)
    return location
  }

  private gradientFloats(spec: ParameterSpec): number {
    if (spec.frozen) return 0
    return paddedFloats(sizeOf(spec.shape) * (spec.stacked ? this.sources : 1))
  }

  /** Names of the tensors, in the order in which they lie in memory. */
  get namesInMemory(): readonly string[] {
    return [...this.locations.keys()]
  }

  /** The shares that this rank owns. */
  ownedShares(): Share[] {
    return this.shares.filter(({ owner }) => owner === this.layout.rank)
  }

  /** The {@link ownedShares} that are trained. */
  trainedShares(): Share[] {
    return this.ownedShares().filter(({ spec }) => !spec.frozen)
  }

  /**
   * The units that this rank owns and updates, or the units of other shares, such as all shares that it holds, in an
   * order that does not depend on the layout.
   */
  units(shares: readonly Share[] = this.trainedShares()): Unit[] {
    return shares.flatMap((share) => {
      const { spec, from, to } = share
      return Array.from({ length: to - from }, (_, i): Unit => {
        const unit = from + i
        const name = spec.stacked ? this.nameOfExpert(spec, unit) : spec.name
        const { first, count } = this.unitsOfTensor(spec.name)
        const index = first + (spec.stacked ? heldExperts(count, this.layout).first : 0) + unit
        const place = placeOf(spec, unit, unit + 1, this.layout)
        const [piece] = this.piecesOf({ ...share, ...place, from: unit, to: unit + 1 }) as [Unit]
        return { ...piece, index, name }
      })
    })
  }

  /** Indices of all units of a tensor, whichever ranks hold and own them. */
  unitIndices(name: string): number[] {
    const { first, count } = this.unitsOfTensor(name)
    return Array.from({ length: count }, (_, i) => first + i)
  }

  private unitsOfTensor(name: string): { readonly first: number; readonly count: number } {
    const units = this.unitsOfModel.get(name)
    if (!units) throw new Error(`internal: no parameter ${name}`)
    return units
  }

  /** The gradients of each bank, and their partial sums (`gradient-tree.ts`); offsets and count in floats. */
  gradientRegions(): { arena: Arena; gradients: number; partials: readonly number[]; count: number }[] {
    const banks = this.banks.filter(({ regions }) => regions.gradients > 0)
    return banks.map((bank) => ({
      arena: bank.arena,
      gradients: bank.gradients(),
      partials: Array.from({ length: bank.regions.gradientRegions - 1 }, (_, i) => bank.gradients(1 + i)),
      count: bank.regions.gradients,
    }))
  }

  /** Parts of experts' gradients to add up, by expert: offsets of the sources' parts, and their length, in floats. */
  gradientSources(): { arena: Arena; parts: readonly number[]; count: number }[] {
    if (this.sources === 1) return []
    return this.specs.flatMap((spec) => {
      if (!spec.stacked || spec.frozen) return []
      const { bank, gradient } = this.location(spec.name)
      const count = expertFloats(spec)
      return Array.from({ length: spec.shape[0] as number }, (_, e) => ({
        arena: bank.arena,
        parts: Array.from(
          { length: this.sources },
          (_, source) => bank.gradients() + gradient + (e * this.sources + source) * count,
        ),
        count,
      }))
    })
  }

  /** Whether the gradients of a tensor's experts lie apart, because each expert has one for each source. */
  private isApart(spec: ParameterSpec): boolean {
    return spec.stacked && this.sources > 1
  }

  /** The place of a share in the regions of parameters and gradients: one range, or one for each expert. */
  piecesOf({ spec, from, to, start, floats }: Share): Piece[] {
    const { bank, offset, gradient } = this.location(spec.name)
    const sources = this.isApart(spec) ? this.sources : 1
    const pieces = this.isApart(spec) ? to - from : 1
    const count = floats / pieces
    return Array.from({ length: pieces }, (_, i) => ({
      arena: bank.arena,
      parameters: offset + start + i * count,
      gradients: bank.gradients() + gradient + (start + i * count) * sources,
      count,
    }))
  }

  /** The name of an expert held here, with its global id. */
  nameOfExpert({ name, shape }: ParameterSpec, expert: number): string {
    const [held = 0] = shape
    return expertName(name, heldExperts(held * this.layout.expert, this.layout).first + expert)
  }
}

/** Number of floats of an expert of a stacked tensor. */
const expertFloats = ({ shape }: ParameterSpec): number => sizeOf(shape.slice(1))
