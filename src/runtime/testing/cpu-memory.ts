/** Memory of the CPU for stores, without a runtime. */
import { MAX_ARENA_BYTES } from '../arena.ts'
import { createArena } from '../cpu-arena.ts'

export const cpuMemory = { createArena, maxArenaBytes: MAX_ARENA_BYTES }
