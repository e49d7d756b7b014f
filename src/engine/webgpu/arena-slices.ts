/** Ranges of arenas as slices of buffers, and how arena kernels run on them. */
import type { Shape } from '../../core/graph/model.ts'
import { type Arena, RANGE_START } from '../contract/arena.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import { DeviceArena } from './arena.ts'
import type { Dispatch, MemoryType, Operand } from './kernels/contract.ts'
import type { Slice } from './program/slice.ts'

/** Makes an operand of memory that exists. By default it has floats, as many as fit into the slice. */
export type Placing = (slice: Slice, shape?: Shape, dtype?: MemoryType) => Operand

/**
 * Records the dispatches of a call. They are lowered and bound when the call is first made with these slices and this
 * rule.
 */
export type RunKernel = (
  kind: string,
  slices: readonly Slice[],
  lower: (at: Placing) => readonly Dispatch[],
  rule?: string,
) => void

/** The memory of floats `start` to `start + count` of an arena. */
export function sliceOf(arena: Arena, start: number, count: number): Slice {
  if (!(arena instanceof DeviceArena)) throw new RuntimeError('internal: memory of another runtime')
  return { buffer: arena.buffer, offset: start * 4, bytes: count * 4 }
}

/** A slice that a dispatch can bind. */
export function rangeSlice(arena: Arena, start: number, count: number): Slice {
  if (start % RANGE_START !== 0)
    throw new RuntimeError(`internal: a range begins at float ${start} (expected a multiple of ${RANGE_START})`)
  return sliceOf(arena, start, count)
}

const buffers = new WeakMap<GPUBuffer, number>()
let bufferCount = 0

/** A key that is equal for equal slices. */
export const keyOf = ({ buffer, offset, bytes }: Slice): string => {
  const id = buffers.get(buffer) ?? bufferCount++
  buffers.set(buffer, id)
  return `${id}:${offset}+${bytes}`
}
