/** Arenas in the memory of this machine: each is a shared `WebAssembly.Memory`, on huge pages if available. */
import { totalmem } from 'node:os'
import { UsageError } from '../../core/errors.ts'
import { bytes as formatBytes } from '../../core/text/numbers.ts'
import { type Arena, MAX_ARENA_BYTES, type SharedMemory } from '../contract/arena.ts'
import { OutOfMemory } from '../contract/runtime-error.ts'
import { adviseHugePages } from './huge-pages.ts'

const PAGE_BYTES = 65536

interface MemoryConstructor {
  new (size: { initial: number; maximum: number; shared: true }): SharedMemory
}
const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: MemoryConstructor } }).WebAssembly

/**
 * An arena of at least `bytes`, filled with zeros.
 * @param available Memory of the machine in bytes.
 * @throws UsageError if `bytes` is not from 0 to {@link MAX_ARENA_BYTES}; RuntimeError if the memory is not available.
 */
export function createArena(bytes: number, available = machineBytes()): Arena {
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > MAX_ARENA_BYTES)
    throw new UsageError(`invalid arena size: ${bytes} bytes (expected at most ${MAX_ARENA_BYTES}; use several arenas)`)
  if (bytes > available)
    throw outOfMemory(bytes, `this machine has ${formatBytes(available)} (use a smaller model or a larger machine)`)
  const pages = Math.ceil(bytes / PAGE_BYTES)
  let memory: SharedMemory
  try {
    memory = new Memory({ initial: pages, maximum: pages, shared: true })
  } catch {
    const reason = 'the system gives no more (close other programs, or raise the limit that ulimit -v shows)'
    throw outOfMemory(bytes, reason, false)
  }
  adviseHugePages(memory.buffer)
  return arenaOf(memory)
}

/** An arena over memory that exists already. */
export function arenaOf(memory: SharedMemory): Arena {
  const { buffer } = memory
  const view = (start: number, length: number) => new Float32Array(buffer, start * 4, length)
  return {
    host: { memory, buffer },
    byteLength: buffer.byteLength,
    read: async (start, length) => view(start, length),
    write: async (start, values) => {
      const isOwn = values.buffer === buffer && values.byteOffset === start * 4
      if (!isOwn) view(start, values.length).set(values)
    },
    release: () => {},
  }
}

/** Memory of the machine, or of the container if that is less, in bytes. */
export function machineBytes(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}

const outOfMemory = (bytes: number, reason: string, isComputed?: boolean): OutOfMemory =>
  new OutOfMemory(`out of memory: cannot allocate an arena of ${formatBytes(bytes)}: ${reason}`, isComputed)
