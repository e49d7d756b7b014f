/**
 * An arena is one flat block of memory of a runtime. Parameters, gradients and optimizer moments are stored in arenas;
 * a tensor is a range of one.
 *
 * The memory of a CPU runtime is shared by JavaScript, ONNX Runtime, WASM kernels and worker threads, so a range of it
 * is read and written as a view. The memory of a device is out of reach: what is read from it is a copy.
 */

/** The part of `WebAssembly.Memory` that we use (TypeScript declares it for browsers only). */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer
}

/** Memory of this process. The system commits a page when it is first written. */
export interface HostMemory {
  /** The memory for WASM kernels, whose addresses are byte offsets into it. */
  readonly memory: SharedMemory
  readonly buffer: SharedArrayBuffer
}

/** Largest arena of the CPU: 4 GiB, the limit of 32-bit WebAssembly memory. Larger models use several arenas. */
export const MAX_ARENA_BYTES = 2 ** 32

export interface Arena {
  /** Size of the arena, at least the requested size; on the CPU a multiple of 64 KiB. */
  readonly byteLength: number
  /** The memory itself, if it belongs to this process; null for memory of a device. */
  readonly host: HostMemory | null
  /**
   * Floats `start` to `start + length`, as they are after all work that was enqueued before: a view if the memory
   * belongs to this process, else a copy.
   */
  read(start: number, length: number): Promise<Float32Array>
  /** Writes floats from `start` on. Does nothing for a view of that very memory. */
  write(start: number, values: Float32Array): Promise<void>
  /** Copies a range of another arena of the same device to floats from `start` on, after all work that was enqueued before. */
  copy?(start: number, from: ArenaRange): void
  /** Frees the memory of a device, once all enqueued work is done; memory of this process is garbage-collected. */
  release(): void
}

/**
 * Alignment of the ranges that programs and kernels use, in floats: 256 bytes, as WebGPU requires of a kernel's
 * bindings. Between tensors are only zeros.
 */
export const RANGE_START = 64

/** A range of an arena: `start` and `count` are in floats. */
export interface ArenaRange {
  readonly arena: Arena
  readonly start: number
  readonly count: number
}

/** The floats of a range: a view on the CPU, else a copy. */
export const readRange = ({ arena, start, count }: ArenaRange): Promise<Float32Array> => arena.read(start, count)

/** Copies a range to floats of an arena of the same runtime, from `start` on; on a device without the host if it can. */
export async function copyRange(from: ArenaRange, to: Arena, start: number): Promise<void> {
  if (to.copy && from.arena !== to) to.copy(start, from)
  else await to.write(start, await readRange(from))
}

/** Changes the numbers of a range in place. On the CPU nothing is copied. */
export async function changeRange(range: ArenaRange, change: (values: Float32Array) => void): Promise<void> {
  const values = await readRange(range)
  change(values)
  await range.arena.write(range.start, values)
}

/** The memory of an arena of this process. @throws Error if the arena is on a device */
export function hostOf({ host }: Arena): HostMemory {
  if (!host) throw new Error('internal: the memory of a device cannot be reached from here')
  return host
}

/** The floats of a range in memory of this process, as a view. @throws Error if the range is on a device */
export const floatsOf = ({ arena, start, count }: ArenaRange): Float32Array =>
  new Float32Array(hostOf(arena).buffer, start * 4, count)
