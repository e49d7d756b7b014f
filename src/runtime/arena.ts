/**
 * An arena is one flat piece of memory that everything sees: JavaScript, ONNX Runtime, WASM kernels,
 * worker threads. Parameters, gradients and optimizer moments lie in arenas, and a tensor is a view.
 * The system commits a page of it when it is first written.
 */

/** The part of `WebAssembly.Memory` that is used (TypeScript declares it for browsers only). */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer
}

/** 4 GiB: what a 32-bit WebAssembly memory can address. A larger model has several arenas. */
export const MAX_ARENA_BYTES = 2 ** 32

export interface Arena {
  /** For WASM kernels: their addresses are byte offsets into it. */
  readonly memory: SharedMemory
  readonly buffer: SharedArrayBuffer
  /** A multiple of 64 KiB, at least what was asked. */
  readonly byteLength: number
  /** Elements `start` to `start + length`, counted in floats; by default all. */
  floats(start?: number, length?: number): Float32Array
}
