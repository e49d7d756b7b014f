/** Dispatches over operands of a caller, which they overwrite, as a kernel for `runKernel`. */
import type { Operands } from '../../../core/graph/kernels/declaration.ts'
import { type Dispatch, implement, type Operand } from '../kernels/contract.ts'

/** A kernel whose operands are all outputs; a call gives the data that they have before it. */
export const inPlace = <const Name extends string>(
  names: readonly Name[],
  lower: (operands: Operands<Name, Operand>) => readonly Dispatch[],
) => implement({ name: 'in place', inputs: [], outputs: names }, { lower: ({ outputs }) => lower(outputs) })
