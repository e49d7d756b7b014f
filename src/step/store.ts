/**
 * Flat memory of a model: parameters, gradients and optimizer state.
 *
 * A *bank* is one arena cut into equal regions, `[p | g | m | v]`; a tensor has the same offset in each.
 * Tensors with weight decay come first, so the optimizer sees two plain ranges and needs no layers. Every
 * tensor begins at a cache line; the padding is zero and stays zero. A model larger than one arena has
 * several banks; a tensor never crosses from one to the next. After its regions a bank has scratch memory,
 * for kernels that need other data in the same arena.
 */
import { UsageError } from '../errors.ts'
import { sizeOf } from '../graph/shape.ts'
import { expertName, type ParameterSpec } from '../model/parameters.ts'
import { type Arena, MAX_ARENA_BYTES } from '../runtime/arena.ts'
import type { Runtime } from '../runtime/contract.ts'

/** Floats in a cache line. */
const LINE = 16

/** A range of parameters of one bank, with the offsets of parameters, gradients and moments, in floats. */
export interface ParameterRange {
  readonly arena: Arena
  readonly parameters: number
  readonly gradients: number
  readonly moments: readonly number[]
  readonly count: number
  /** Whether weight decay applies. */
  readonly decay: boolean
}

export interface NamedTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/** Scratch memory in the arena of a model's parameters. */
export interface BorrowedScratch {
  readonly arena: Arena
  /** The next floats, aligned to a cache line. */
  take(floats: number): Float32Array
  release(): void
}

interface TensorLocation {
  readonly spec: ParameterSpec
  readonly bank: number
  /** Floats from the start of a region. */
  readonly offset: number
}

const PARAMETERS = 0
const GRADIENTS = 1

export class ParameterStore {
  readonly specs: readonly ParameterSpec[]
  private readonly locations = new Map<string, TensorLocation>()
  private readonly arenas: Arena[] = []
  private readonly sizes: { decayed: number; total: number }[] = []
  /** Floats of scratch memory in use in each bank. */
  private readonly scratchUsed: number[] = []
  private readonly regions: number
  private readonly scratchSize: number

  /**
   * @param runtime Allocates the arenas.
   * @param moments Regions for optimizer state of one number per parameter; null = no gradients either.
   * @param scratch Floats of scratch memory in each bank.
   */
  constructor(
    runtime: Pick<Runtime, 'createArena'>,
    specs: readonly ParameterSpec[],
    moments: number | null,
    scratch = 0,
  ) {
    this.specs = specs
    this.regions = moments === null ? 1 : 2 + moments
    this.scratchSize = scratch
    if (scratch * 4 > MAX_ARENA_BYTES / 2)
      throw new UsageError(
        `invalid train.batch: a micro-batch needs ${scratch * 4} bytes beside the embedding (expected at most ` +
          `${MAX_ARENA_BYTES / 2}; use a smaller batch or more train.microBatches)`,
      )
    for (const bank of this.fillBanks(specs)) this.addBank(bank, runtime)
  }

  private fillBanks(specs: readonly ParameterSpec[]): ParameterSpec[][] {
    const maxFloats = Math.floor((MAX_ARENA_BYTES / 4 - this.scratchSize) / this.regions / LINE) * LINE
    const banks: ParameterSpec[][] = [[]]
    let filled = 0
    for (const spec of specs) {
      const size = paddedFloats(sizeOf(spec.shape))
      if (size > maxFloats)
        throw new UsageError(
          `invalid model: ${spec.name} has ${sizeOf(spec.shape)} parameters (expected at most ${maxFloats}; ` +
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

  private addBank(specs: readonly ParameterSpec[], runtime: Pick<Runtime, 'createArena'>): void {
    let offset = 0
    const assignOffsets = (chosen: readonly ParameterSpec[]) => {
      for (const spec of chosen) {
        this.locations.set(spec.name, { spec, bank: this.arenas.length, offset })
        offset += paddedFloats(sizeOf(spec.shape))
      }
      return offset
    }
    const decayed = assignOffsets(specs.filter(({ decay }) => decay))
    const total = assignOffsets(specs.filter(({ decay }) => !decay))
    this.sizes.push({ decayed, total })
    this.scratchUsed.push(0)
    this.arenas.push(runtime.createArena((total * this.regions + this.scratchSize) * 4))
  }

  /** The values of a parameter, or of one expert of a stacked parameter. */
  parameter(name: string, expert: number | null = null): Float32Array {
    return this.view(name, expert, PARAMETERS)
  }

  gradient(name: string, expert: number | null = null): Float32Array {
    return this.view(name, expert, GRADIENTS)
  }

  /** Optimizer state number `index` of a parameter. */
  moment(name: string, index: number): Float32Array {
    return this.view(name, null, GRADIENTS + 1 + index)
  }

  /** Bytes of all arenas, scratch memory included. */
  get byteLength(): number {
    return this.arenas.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }

  /** Allocates scratch memory in the arena of a parameter. Returns its offset and that of the gradient, in floats. */
  allocateScratch(name: string, floats: number): { arena: Arena; gradient: number; scratch: number } {
    const { bank, offset } = this.location(name)
    const total = this.sizes[bank]?.total ?? 0
    const used = this.scratchUsed[bank] ?? 0
    this.scratchUsed[bank] = used + paddedFloats(floats)
    if (used + floats > this.scratchSize) throw new Error(`internal: no scratch memory is left in the bank of ${name}`)
    return {
      arena: this.arenas[bank] as Arena,
      gradient: GRADIENTS * total + offset,
      scratch: this.regions * total + used,
    }
  }

  /** Borrows scratch memory; null if the tensors need several arenas or too little is left. */
  borrowScratch(floats: number): BorrowedScratch | null {
    const [arena, ...rest] = this.arenas
    const used = this.scratchUsed[0] ?? 0
    if (!arena || rest.length > 0 || used + paddedFloats(floats) > this.scratchSize) return null
    this.scratchUsed[0] = used + paddedFloats(floats)
    const start = this.regions * (this.sizes[0]?.total ?? 0) + used
    let taken = 0
    return {
      arena,
      take: (count) => {
        const from = start + taken
        taken += paddedFloats(count)
        if (taken > floats) throw new Error('internal: borrowed scratch memory is used up')
        return arena.floats(from, count)
      },
      release: () => {
        if (this.scratchUsed[0] === used + paddedFloats(floats)) this.scratchUsed[0] = used
      },
    }
  }

  private location(name: string): TensorLocation {
    const location = this.locations.get(name)
    if (!location) throw new Error(`internal: no parameter ${name}`)
    return location
  }

  private view(name: string, expert: number | null, region: number): Float32Array {
    const { spec, bank, offset } = this.location(name)
    const start = region * (this.sizes[bank]?.total ?? 0) + offset
    const size = sizeOf(spec.shape)
    if (expert === null) return (this.arenas[bank] as Arena).floats(start, size)
    const part = size / (spec.shape[0] as number)
    return (this.arenas[bank] as Arena).floats(start + expert * part, part)
  }

  /** Two ranges per bank: with weight decay, and without. */
  ranges(): ParameterRange[] {
    return this.sizes.flatMap(({ decayed, total }, bank) => {
      const range = (from: number, to: number, decay: boolean): ParameterRange => ({
        arena: this.arenas[bank] as Arena,
        parameters: from,
        gradients: GRADIENTS * total + from,
        moments: Array.from({ length: this.regions - 2 }, (_, i) => (GRADIENTS + 1 + i) * total + from),
        count: to - from,
        decay,
      })
      return [range(0, decayed, true), range(decayed, total, false)]
    })
  }

  /** The parameters as named in checkpoints: every expert is a tensor, with its global id. */
  parameterTensors(): NamedTensor[] {
    return this.specs.flatMap((spec) => perExpert(spec, '', (expert) => this.parameter(spec.name, expert)))
  }

  momentTensors(index: number, suffix: string): NamedTensor[] {
    return this.specs.flatMap((spec) =>
      perExpert(spec, suffix, (expert) => this.view(spec.name, expert, GRADIENTS + 1 + index)),
    )
  }
}

/** Rounds up to whole cache lines, in floats. */
export const paddedFloats = (floats: number): number => Math.ceil(floats / LINE) * LINE

function perExpert(
  { name, shape, stacked }: ParameterSpec,
  suffix: string,
  view: (expert: number | null) => Float32Array,
): NamedTensor[] {
  if (!stacked) return [{ name: `${name}${suffix}`, shape, data: view(null) }]
  const [experts = 0, ...inner] = shape
  return Array.from({ length: experts }, (_, e) => ({
    name: `${expertName(name, e)}${suffix}`,
    shape: inner,
    data: view(e),
  }))
}
