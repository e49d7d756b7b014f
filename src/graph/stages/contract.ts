/** What a program is once it is cut into stages: what passes from the graph to the runtime. */
import type { DType, Model, Origin, Port, Shape } from '../model.ts'
import type { AttributeValue, ConstantData } from '../tensor.ts'

/** A value as one stage sees it. */
export interface ValueUse {
  /** Index into `StagedModel.values`. */
  readonly value: number
  readonly shape: Shape
}

export interface KernelStage {
  readonly kind: 'kernel'
  /** Which kernel. */
  readonly type: string
  readonly attributes: Readonly<Record<string, AttributeValue>>
  /** The last inputs are added to the outputs that `added` names. */
  readonly inputs: readonly ValueUse[]
  readonly outputs: readonly ValueUse[]
  readonly added: readonly number[]
  readonly overwrites: boolean
  readonly origin: Origin
}

export interface OnnxStage {
  readonly kind: 'onnx'
  /** Its ports are `i0, i1, ...` and `o0, o1, ...`, in the order of inputs and outputs here. */
  readonly model: Model
  readonly inputs: readonly ValueUse[]
  readonly outputs: readonly ValueUse[]
}

export type Stage = KernelStage | OnnxStage

/** What is known of a value: its kind and size, and where it comes from when not from a stage. */
export interface Value {
  readonly dtype: DType
  readonly size: number
  readonly constant?: ConstantData
}

/** A program cut into stages. Its ports are bound like those of a `Model`. */
export interface StagedModel {
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** The value of each port. */
  readonly valueOfInput: readonly number[]
  readonly valueOfOutput: readonly number[]
  readonly values: readonly Value[]
  readonly stages: readonly Stage[]
}
