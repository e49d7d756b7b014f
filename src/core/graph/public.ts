/**
 * Tensors, operations and gradients, as callers of the library and routers of a user's own import them from
 * `choir/graph`.
 */
export { gradient } from './gradient.ts'
export type { DType, Origin, Port, Shape } from './model.ts'
export * from './ops/attention.ts'
export * from './ops/cross-entropy.ts'
export * from './ops/elementwise.ts'
export * from './ops/expert.ts'
export * from './ops/fused.ts'
export * from './ops/indexing.ts'
export * from './ops/matmul.ts'
export * from './ops/order.ts'
export { max, mean, type ReduceOptions, sum } from './ops/reduction.ts'
export * from './ops/shape.ts'
export * from './ops/sinkhorn.ts'
export { defineOp, emit, emitMany } from './own-op.ts'
export type { Program } from './program.ts'
export { stopGradient } from './stop-gradient.ts'
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
} from './tensor.ts'
