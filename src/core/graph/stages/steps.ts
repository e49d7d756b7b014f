/** Steps and values of a program while it is cut into stages. */
import type { DType, Shape } from '../model.ts'
import { sizeOf } from '../shape.ts'
import { type ConstantData, type Node, RAGGED, type Tensor } from '../tensor.ts'
import type { StoredType, Value, ValueUse } from './contract.ts'

/** A node whose inputs and outputs are values. */
export interface Step {
  readonly node: Node
  /** Constants of ONNX nodes remain tensors. */
  readonly inputs: readonly (ValueUse | Tensor)[]
  readonly outputs: readonly ValueUse[]
  /** Indices of the outputs to which an addend is added, as in `KernelStage`. */
  readonly added?: readonly number[]
}

export const isUse = (input: ValueUse | Tensor): input is ValueUse => 'value' in input
export const usesOf = ({ inputs }: Step): ValueUse[] => inputs.filter(isUse)
export const isKernel = ({ node }: Step): boolean => node.domain === 'choir'

export class Values {
  readonly list: Value[] = []
  private readonly ofSource = new Map<object, number[]>()
  private readonly portsInside: boolean

  constructor(portsInside: boolean) {
    this.portsInside = portsInside
  }

  ofInput(tensor: Tensor): number {
    const value = this.create(tensor)
    this.ofSource.set(tensor.source, [value])
    return value
  }

  create({ dtype, shape }: { dtype: DType; shape: Shape }, constant?: ConstantData): number {
    // The rows of a ragged tensor are known only inside a stage; a ragged value never leaves one.
    const size = shape.includes(RAGGED) ? Number.NaN : sizeOf(shape)
    return this.list.push({ dtype, size, ...(constant && { constant }) }) - 1
  }

  /** Changes the type in which a value is stored. Values that are not float32 keep their type. */
  storeAs(value: number, dtype: StoredType): void {
    const { dtype: before, size } = this.list[value] as Value
    if (before === 'float32') this.list[value] = { dtype, size }
  }

  use(tensor: Tensor): ValueUse {
    let known = this.ofSource.get(tensor.source)
    if (!known && tensor.source.kind === 'constant') {
      known = [this.create(tensor, tensor.source.data)]
      this.ofSource.set(tensor.source, known)
    }
    const value = known?.[tensor.output]
    if (value === undefined) throw new Error('internal: a value is used before it is computed')
    return { value, shape: tensor.shape }
  }

  /** The step of a node. A reshape needs no step: its result is the same value. */
  step(node: Node): Step[] {
    const [from] = node.inputs
    if (node.type === 'Reshape' && from && from.source.kind !== 'constant' && !from.shape.includes(RAGGED)) {
      this.ofSource.set(node, [this.use(from).value])
      return []
    }
    const outputs = node.outputs.map((output) => ({ value: this.create(output), shape: output.shape }))
    this.ofSource.set(
      node,
      outputs.map(({ value }) => value),
    )
    const keepConstants = node.domain !== 'choir'
    const inputs = node.inputs.map((tensor) =>
      keepConstants && tensor.source.kind === 'constant' ? tensor : this.use(tensor),
    )
    return [{ node: this.portsInside ? withoutLocality(node) : node, inputs, outputs }]
  }
}

/** The kernel without its restriction to local memory. */
function withoutLocality(node: Node): Node {
  if (!node.kernel) return node
  const { local, localInputs, localOutputs, ...kernel } = node.kernel
  return { ...node, kernel }
}
