/**
 * Tensors, operations and gradients, as callers of the library and routers of a user's own import them from
 * `choir/graph`.
 */

export type { DType, Origin, Port, Shape } from '../model.ts'
export { defineOp, emit, emitMany } from '../own-op.ts'
export type { Program } from '../program.ts'
export {
  type AttributeValue,
  type Built,
  type Constant,
  constant,
  type EmitOptions,
  type Input,
  input,
  type KernelSet,
  type Node,
  type Operand,
  scope,
  type Tensor,
  withKernels,
} from '../tensor.ts'
export * from './attention.ts'
export * from './cross-entropy.ts'
export * from './elementwise.ts'
export * from './expert.ts'
export * from './fused.ts'
export { gradient } from './gradient.ts'
export * from './indexing.ts'
export * from './matmul.ts'
export * from './order.ts'
export { max, mean, type ReduceOptions, sum } from './reduction.ts'
export * from './shape.ts'
export * from './sinkhorn.ts'
export { stopGradient } from './stop-gradient.ts'
