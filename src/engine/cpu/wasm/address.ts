import type { Arena } from '../../contract/arena.ts'

/** The byte offset of an array in an arena. @throws Error if the array is not inside the arena */
export function address(arena: Arena, start: number, count: number): number {
  if (!(start >= 0 && count >= 0 && (start + count) * 4 <= arena.byteLength))
    throw new Error(`internal: ${count} floats from ${start} are not inside an arena of ${arena.byteLength} bytes`)
  return start * 4
}
