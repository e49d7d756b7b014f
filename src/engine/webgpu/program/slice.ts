import { RANGE_START } from '../../contract/arena.ts'

/** Part of a buffer. */
export interface Slice {
  readonly buffer: GPUBuffer
  readonly offset: number
  readonly bytes: number
}

/** Every operand begins at a multiple of this, in bytes. */
export const ALIGNMENT = 4 * RANGE_START
