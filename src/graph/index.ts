export { gradient } from './gradient.ts'
export type { DType, Model, Origin, Port, Shape } from './model.ts'
export { type OnnxOptions, toOnnx } from './onnx.ts'
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
export type { Program } from './program.ts'
export { sizeOf } from './shape.ts'
export { type RowAddition, type SparseGradient, splitScatters } from './sparse-gradient.ts'
export type { KernelStage, OnnxStage, Stage, StagedModel, Value, ValueUse } from './stages/contract.ts'
export { type CutOptions, cut, usesKernels } from './stages/cut.ts'
export {
  type Application,
  type AttributeValue,
  type Constant,
  type ConstantData,
  constant,
  type Family,
  hasKernel,
  type Input,
  input,
  type KernelSet,
  type KernelTraits,
  kernelTile,
  type Node,
  type OpEntry,
  type Operand,
  registry,
  scope,
  type Tensor,
  withKernels,
} from './tensor.ts'
