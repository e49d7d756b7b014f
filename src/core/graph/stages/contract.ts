/** A program cut into stages: the interface between graph and runtime. */
import type { DType, Model, Origin, Port, Shape } from '../model.ts'
import type { AttributeValue, ConstantData } from '../tensor.ts'

/** A value with the shape that one stage sees. */
export interface ValueUse {
  /** Index into `StagedModel.values`. */
  readonly value: number
  readonly shape: Shape
}

export interface KernelStage {
  readonly kind: 'kernel'
  /** Name of the kernel. */
  readonly type: string
  readonly attributes: Readonly<Record<string, AttributeValue>>
  /** Operands in the order of `names`, then addends, one for each output in `added`. */
  readonly inputs: readonly ValueUse[]
  readonly outputs: readonly ValueUse[]
  /** Names of the operands, as the kernel is declared (`../kernels`). */
  readonly names: { readonly inputs: readonly string[]; readonly outputs: readonly string[] }
  /** Indices of the outputs to which an addend is added. */
  readonly added: readonly number[]
  readonly overwrites: boolean
  readonly origin: Origin
}

export interface OnnxStage {
  readonly kind: 'onnx'
  /** The model's ports are `i0, i1, ...` and `o0, o1, ...`, in the order of the inputs and outputs of the stage. */
  readonly model: Model
  readonly inputs: readonly ValueUse[]
  readonly outputs: readonly ValueUse[]
  /** Number of elements that its nodes compute; infinite with ragged tensors. */
  readonly elements: number
}

export type Stage = KernelStage | OnnxStage

/** How a value is stored: bfloat16 is the upper half of a float32, and exists only between kernels. */
export type StoredType = DType | 'bfloat16'

/** Names of the operands of a kernel that may be bfloat16, which takes 2 bytes; `all` inputs includes addends. */
export interface Halves<In extends string = string, Out extends string = string> {
  readonly inputs: readonly In[] | 'all'
  readonly outputs: readonly Out[]
  /** Whether the first output has the type of the first input, because it is moved as bytes. */
  readonly same?: true
}

/** A value that stages exchange. It has no shape: each reader sees it in its own. */
export interface Value {
  readonly dtype: StoredType
  /** Number of elements. */
  readonly size: number
  /** The contents of a constant, which no stage computes. */
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
