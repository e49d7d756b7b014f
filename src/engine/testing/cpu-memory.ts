/** The memory of the CPU for parameter stores, without a runtime. */
import { MAX_ARENA_BYTES } from '../contract/arena.ts'
import { createArena } from '../native/cpu-arena.ts'

export const cpuMemory = { createArena, maxArenaBytes: MAX_ARENA_BYTES }
