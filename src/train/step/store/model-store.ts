/**
 * The parameters of a model in memory, for programs that read them. `ParameterStore` has them as float32; a store of
 * rounded weights (`src/use/infer/quantized/quantized-store.ts`) can be read, but not trained.
 */
import type { Tensor } from '../../../core/graph/tensor.ts'
import { type ParameterSpec, type Parameters, SymbolicParameters } from '../../../core/model/parameters.ts'
import type { ArenaRange } from '../../../engine/contract/arena.ts'
import type { PortMemory, ProgramMemory } from '../../../engine/contract/runtime.ts'
import type { BorrowedScratch } from './bank.ts'
import type { Layout } from './placement.ts'

/** Memory for kernels in arenas other than the arena of their program. */
export type Beside = NonNullable<ProgramMemory['beside']>

export interface ModelStore {
  /** The tensors on this rank whose numbers are float32. */
  readonly specs: readonly ParameterSpec[]
  readonly layout: Layout
  /** Bytes of all arenas. */
  readonly byteLength: number
  /** The values of a float32 parameter, or of one expert of a stacked parameter. */
  parameter(name: string, expert?: number | null): ArenaRange
  /** The parameters for a program that is about to be traced. */
  trace(): TracedParameters
  /** Borrows scratch memory; null if the float32 tensors need several arenas or too little is left. */
  borrowScratch(floats: number): BorrowedScratch | null
  /** Memory in the arenas of the parameters for kernels of programs in other arenas. */
  readonly beside: Beside
}

/** The parameters of a program, which know where the numbers are that it read while it was traced. */
export interface TracedParameters extends Parameters {
  readonly used: SymbolicParameters['used']
  /** The memory of each of its inputs that hold parameters. */
  ports(): Readonly<Record<string, PortMemory>>
}

/** Name of a tensor that is a program input; empty for any other tensor. */
export const inputNameOf = ({ source }: Tensor): string => (source.kind === 'input' ? source.name : '')

export class FloatParameters extends SymbolicParameters implements TracedParameters {
  private readonly store: Pick<ModelStore, 'specs' | 'parameter'>

  constructor(store: Pick<ModelStore, 'specs' | 'parameter'>) {
    super(store.specs, 'float32')
    this.store = store
  }

  ports(): Record<string, PortMemory> {
    return Object.fromEntries(
      this.used.map(({ spec, expert, tensor }) => [inputNameOf(tensor), this.store.parameter(spec.name, expert)]),
    )
  }
}
