/** The native runtime: compiles programs and runs them on this machine, on memory that the caller owns. */
export { type Arena, createArena, maxArenaBytes, type SharedMemory } from './arena.ts'
export * from './contract.ts'
export type { Precision } from './onednn/library.ts'
export { createRuntime } from './onnxruntime/runtime.ts'
export {
  type AdamwRange,
  type AdamwSettings,
  createKernels,
  type Kernels,
  type Range,
  type RowScatter,
} from './wasm/kernels.ts'
