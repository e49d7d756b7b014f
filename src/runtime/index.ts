/** The native runtime: compiles programs and runs them on this machine, on memory that the caller owns. */
export { type Arena, createArena, maxArenaBytes } from './arena.ts'
export * from './contract.ts'
export { createRuntime } from './onnxruntime/runtime.ts'
export { createKernels, type Kernels, type RowScatter } from './wasm/kernels.ts'
