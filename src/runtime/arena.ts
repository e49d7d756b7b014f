/**
 * An arena is one flat block of memory that JavaScript, ONNX Runtime, WASM kernels and worker threads share.
 * Parameters, gradients and optimizer moments are stored in arenas; a tensor is a view. The system commits
 * a page when it is first written.
 */

/** The part of `WebAssembly.Memory` that we use (TypeScript declares it for browsers only). */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer
}

/** 4 GiB, the limit of 32-bit WebAssembly memory. Larger models use several arenas. */
export const MAX_ARENA_BYTES = 2 ** 32

export interface Arena {
  /** For WASM kernels, whose addresses are byte offsets into it. */
  readonly memory: SharedMemory
  readonly buffer: SharedArrayBuffer
  /** A multiple of 64 KiB, at least the requested size. */
  readonly byteLength: number
  /** A view of floats `start` to `start + length`; default: all. */
  floats(start?: number, length?: number): Float32Array
}
