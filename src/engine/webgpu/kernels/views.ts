/** How kernels look at the operands and attributes of a call. */
import type { AttributeValue } from '../../../core/graph/tensor.ts'
import type { Operand } from './contract.ts'

/** A tensor as [outer, length, inner]: `length` is the size of an axis, a line the elements along it. */
export interface AxisView {
  readonly outer: number
  readonly length: number
  readonly inner: number
}

export function axisView({ shape }: Operand, axis: number): AxisView {
  const at = axis < 0 ? axis + shape.length : axis
  const product = (dims: readonly number[]) => dims.reduce((total, d) => total * d, 1)
  const length = shape[at]
  if (length === undefined) throw new Error(`internal: axis ${axis} of a tensor of shape [${shape.join(', ')}]`)
  return { outer: product(shape.slice(0, at)), length, inner: product(shape.slice(at + 1)) }
}

/** WGSL type of an element. */
export const elementOf = ({ dtype }: Operand): 'f32' | 'i32' => (dtype.startsWith('float') ? 'f32' : 'i32')

/** The smallest power of two that is at least `count`. */
export const powerOfTwo = (count: number): number => 2 ** Math.ceil(Math.log2(Math.max(count, 1)))

/** The number of a float attribute of an operator of ONNX. */
export function floatOf(attribute: AttributeValue | undefined): number {
  if (typeof attribute !== 'object' || !('float' in attribute)) throw new Error(`internal: ${attribute} is no float`)
  return attribute.float
}
