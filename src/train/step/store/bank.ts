/**
 * A bank: one arena cut into regions `[p | g | m | v]` for parameters, gradients and moments, and scratch memory after
 * them, for kernels that need other data in the same arena. Every tensor begins at a multiple of {@link RANGE_START};
 * the padding is zero and stays zero.
 */
import { UsageError } from '../../../core/errors.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { type Arena, type ArenaRange, RANGE_START } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'

/** The part of a runtime that a store needs. */
export type Memory = Pick<Runtime, 'createArena' | 'maxArenaBytes' | 'memoryBytes'>

/** Rounds up to where the next tensor begins, in floats. */
export const paddedFloats = (floats: number): number => Math.ceil(floats / RANGE_START) * RANGE_START

/**
 * Bytes in every arena of weights for the rows that kernels multiply there, if the memory of their program is another
 * arena. Programs run one after the other, so they share it.
 */
export const BESIDE_BYTES = 2 ** 24

/** Memory of a program: scratch memory in the arena of a model's parameters, or an arena of its own. */
export interface BorrowedScratch {
  readonly arena: Arena
  /** Returns the next floats, from a multiple of {@link RANGE_START} on. */
  take(floats: number): ArenaRange
  release(): void
}

/** Sizes of the regions of a bank, in floats, and how many regions of a kind there are. */
export interface Regions {
  readonly parameters: number
  readonly gradients: number
  /** Number of regions for gradients and their partial sums. */
  readonly gradientRegions: number
  readonly moments: number
  readonly momentRegions: number
  readonly scratch: number
  /** {@link BESIDE_BYTES} in floats, or 0 in a store whose programs are all in its own memory. */
  readonly beside: number
}

export class Bank {
  readonly arena: Arena
  readonly regions: Regions
  private scratchUsed = 0

  constructor(runtime: Memory, regions: Regions) {
    this.regions = regions
    this.arena = runtime.createArena((this.besideStart + regions.beside) * 4)
  }

  /** The part of the arena for kernels of programs in other arenas; null if there is none. */
  get beside(): { readonly arena: Arena; readonly start: number; readonly bytes: number } | null {
    const { arena, regions } = this
    return regions.beside === 0 ? null : { arena, start: 4 * this.besideStart, bytes: 4 * regions.beside }
  }

  /** Start of region `index` of gradients, in floats. */
  gradients(index = 0): number {
    return this.regions.parameters + index * this.regions.gradients
  }

  /** Start of region `index` of moments, in floats. */
  moments(index: number): number {
    return this.gradients(this.regions.gradientRegions) + index * this.regions.moments
  }

  private get scratchStart(): number {
    return this.moments(this.regions.momentRegions)
  }

  private get besideStart(): number {
    return this.scratchStart + this.regions.scratch
  }

  /** Allocates scratch memory and returns its start, in floats; null if too little is left. */
  allocate(floats: number): number | null {
    const used = this.scratchUsed
    if (used + floats > this.regions.scratch) return null
    this.scratchUsed = used + paddedFloats(floats)
    return this.scratchStart + used
  }

  /** Borrows scratch memory; null if too little is left. */
  borrow(floats: number): BorrowedScratch | null {
    const used = this.scratchUsed
    const start = this.allocate(paddedFloats(floats))
    if (start === null) return null
    let taken = 0
    return {
      arena: this.arena,
      take: (count) => {
        const from = start + taken
        taken += paddedFloats(count)
        if (taken > floats) throw new Error('internal: borrowed scratch memory is used up')
        return { arena: this.arena, start: from, count }
      },
      release: () => {
        if (this.scratchUsed === used + paddedFloats(floats)) this.scratchUsed = used
      },
    }
  }
}

/**
 * Distributes tensors over as few banks as an arena's limit allows, in order.
 * @param sizeIn Number of floats of a tensor in all regions.
 * @throws UsageError naming a tensor that is too large for a bank
 */
export function fillBanks(
  specs: readonly ParameterSpec[],
  sizeIn: (spec: ParameterSpec) => number,
  scratch: number,
  maxArenaBytes: number,
): ParameterSpec[][] {
  const maxFloats = Math.floor((maxArenaBytes / 4 - scratch) / RANGE_START) * RANGE_START
  const banks: ParameterSpec[][] = [[]]
  let filled = 0
  for (const spec of specs) {
    const size = sizeIn(spec)
    if (size > maxFloats)
      throw new UsageError(
        `invalid model: ${spec.name} has ${sizeOf(spec.shape)} parameters (expected at most ` +
          `${Math.floor((maxFloats / size) * sizeOf(spec.shape))}; ` +
          (spec.stacked ? 'use fewer or smaller experts in a layer)' : 'use a smaller vocabulary or width)'),
      )
    if (filled + size > maxFloats) {
      banks.push([])
      filled = 0
    }
    banks.at(-1)?.push(spec)
    filled += size
  }
  return banks
}
