/**
 * The contract of arena kernels, which work on flat ranges of arenas and know no graph or layers. Optimizers, the
 * gradient norm and the row additions of an embedding's gradient take one pass over memory here, and several as a
 * graph.
 *
 * Calls resolve when their work is enqueued: work that is enqueued later sees its results. On the CPU the work is done
 * by then, and results are bitwise equal for any number of threads.
 *
 * The decision about an update is made where the gradients are: a *gate* has their norm, the factor that clips them,
 * and whether to update at all. A device that defers fills in the gate after the update was enqueued.
 *
 * @example
 * ```ts
 * const gate = await kernels.gate(gradients, { clip: 1 })
 * await kernels.adamw(ranges, settings, gate)
 * await runtime.synchronize()
 * if (!gate.isOpen) console.log(`no update: the norm is ${gate.norm}`)
 * ```
 */
import type { Arena, ArenaRange } from './arena.ts'
import type { CompactState } from './moments.ts'
import type { NodeTime } from './times.ts'

/** Parameters, gradients and moments in one arena: their offsets and count in floats. */
export interface AdamwRange {
  readonly arena: Arena
  readonly p: number
  readonly g: number
  readonly m: number
  readonly v: number
  readonly count: number
  /** 1 − learning rate · weight decay, with the rate and the decay of this range. */
  readonly keep: number
  /** Factor of the step size in this range; default: 1. */
  readonly factor?: number
}

/** A unit of parameters with compact moments (`moments.ts`). */
export interface CompactAdamwRange extends Omit<AdamwRange, 'm' | 'v'> {
  /** Offset of the moments, in floats: their codes, then the bounds of `int8`. */
  readonly moments: number
  /** Seed of the random bits by which moments are rounded, 32 bits. Every unit and update needs a seed of its own. */
  readonly seed: number
}

/**
 * The sum of squares from which a norm counts as infinite. Optimizers square gradients in float32, where the square of
 * a larger gradient is infinite, and would leave a moment or a parameter infinite for good.
 */
export const MAX_SQUARES = 3.4e38

/**
 * The decision about an update, by the norm of its gradients and by numbers such as the loss. The fields are valid
 * after `Runtime.synchronize`.
 */
export interface Gate {
  /** The root of the sum of squares of all gradients; infinite if the sum is {@link MAX_SQUARES} or more. */
  readonly norm: number
  /** Factor of the gradients: clip/norm if the norm is larger than `clip` and clip > 0, else 1. */
  readonly scale: number
  /** Whether everything is finite, and the caller did not close the gate. Updates with a closed gate change nothing. */
  readonly isOpen: boolean
}

export interface GateOptions {
  /** Largest norm; 0 = no clipping. */
  readonly clip: number
  /**
   * The sums of squares of all ranges that count, from the sums of these ranges: ranks gather the sums of all ranks.
   * Default: these sums. They are added in their order, so the bits of the norm do not depend on who computed a sum. The
   * fields of the gate are then valid when the call resolves.
   */
  readonly all?: ((sums: readonly number[]) => Promise<readonly number[]>) | undefined
  /** Whether the gate is closed whatever the norm is, because the loss is known and not finite. */
  readonly closed?: boolean
  /**
   * Arrays of few numbers that must be finite too, such as the loss. On a device that defers, these are arrays to which
   * outputs of enqueued programs are bound, and the outputs need not be computed yet.
   */
  readonly finite?: readonly Float32Array[]
}

/** Biases of experts, a range of [N], and the loads that change them: `known` + `enqueued`, integers below 2^24. */
export interface LoadBias extends ArenaRange {
  /** Known loads [N]. */
  readonly known: ArrayLike<number>
  /** Loads [N] that an enqueued program writes, as in {@link GateOptions.finite}; null if all loads are known. */
  readonly enqueued: Float32Array | null
}

/**
 * Coefficients of m ← β₁m + first·s·g, v ← β₂v + second·s²·g², p ← keep·p − factor·size·m / (correction·√v + ε),
 * with the scale s of the gate, and the factor of the range.
 */
export interface AdamwSettings {
  readonly first: number
  readonly second: number
  readonly beta1: number
  readonly beta2: number
  readonly size: number
  readonly correction: number
  readonly epsilon: number
}

/** Consecutive tensors, each updated separately by Adafactor. Offsets are in floats. */
export interface AdafactorRange {
  readonly arena: Arena
  readonly p: number
  readonly g: number
  /**
   * {@link adafactorStateSize} floats for each tensor, zero before the first update. For a matrix: mean squares of
   * the rows, then of the columns, then memory for the kernel. For a vector: its second moment.
   */
  readonly state: number
  /** Number of tensors. */
  readonly count: number
  /** Rows of each matrix; null = the tensors are vectors of `columns` elements. */
  readonly rows: number | null
  readonly columns: number
  /** 1 − learning rate · weight decay, with the rate and the decay of these tensors. */
  readonly keep: number
  /** Factor of the learning rate of these tensors; default: 1. */
  readonly factor?: number
}

export interface AdafactorSettings {
  /** Decay of the second moment, β₂. */
  readonly beta: number
  readonly rate: number
}

/** The addition to ← to + from. Offsets and count are in floats. */
export interface Addition {
  readonly arena: Arena
  readonly to: number
  readonly from: number
  readonly count: number
}

/** The additions table[indices[r]] += rows[r]. Offsets are in floats; all arrays are in one arena. */
export interface RowScatter {
  readonly arena: Arena
  /** [tableRows, width]. */
  readonly table: number
  readonly tableRows: number
  /** [rowCount, width]. */
  readonly rows: number
  /** [rowCount], int32; an index may repeat. */
  readonly indices: number
  readonly rowCount: number
  readonly width: number
}

/** The arena kernels of a runtime, from `Runtime.createArenaKernels`. */
export interface ArenaKernels {
  readonly threads: number
  /**
   * A gate for the update by these gradients. Each range has a sum of squares of its own; the norm is not finite if any
   * element is not.
   */
  gate(ranges: readonly ArenaRange[], options: GateOptions): Promise<Gate>
  /** AdamW in place, in float32. */
  adamw(ranges: readonly AdamwRange[], settings: AdamwSettings, gate: Gate): Promise<void>
  /**
   * AdamW in place, with moments that are rounded after each update, up or down at random, so that their expectation is
   * the unrounded value. The update of the parameters itself uses the unrounded moments.
   */
  adamwCompact(
    state: CompactState,
    ranges: readonly CompactAdamwRange[],
    settings: AdamwSettings,
    gate: Gate,
  ): Promise<void>
  /** Adafactor in place, in float32 (Shazeer and Stern 2018, algorithms 4 and 5, without momentum). */
  adafactor(ranges: readonly AdafactorRange[], settings: AdafactorSettings, gate: Gate): Promise<void>
  /** Changes biases by b_e ← b_e + rate · sign(mean load − load_e), if the gate is open. */
  balance(biases: readonly LoadBias[], rate: number, gate: Gate): Promise<void>
  /** Adds ranges to ranges, in float32. */
  add(additions: readonly Addition[]): Promise<void>
  /** Adds rows to rows of a table, in float32, in the order of the rows. */
  scatterAddRows(scatter: RowScatter): Promise<void>
  /** Time of each kernel since creation. */
  profile(): readonly NodeTime[]
  /** Waits for running kernels and ends the threads. Idempotent. */
  close(): Promise<void>
}

/** Size of Adafactor's state of a tensor, in floats. */
export function adafactorStateSize(rows: number | null, columns: number): number {
  return rows === null ? columns : 2 * rows + (1 + Math.ceil(rows / blockRows(rows, columns))) * columns
}

/** Approximate size of a block of rows, in floats. */
export const ADAFACTOR_BLOCK = 2 ** 20
const MAX_BLOCKS = 64

/** Number of rows in a block. It depends only on the matrix, so the bits of an update do too. */
export function blockRows(rows: number, columns: number): number {
  return Math.ceil(rows / Math.min(MAX_BLOCKS, Math.ceil((rows * columns) / ADAFACTOR_BLOCK)))
}
