/**
 * Positions in tensors, as WGSL expressions. A position is known by its flat index or by its index in every dimension;
 * the other form is computed where it is needed. So an elementwise operation reads its operand at the flat index
 * without a division, and a transpose reads it by dimensions.
 */
import type { Shape } from '../../../core/graph/model.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { Writer } from './writer.ts'

/** All texts are names or numbers of type i32. At least one of `flat` and `dims` is set. */
export interface Position {
  readonly shape: Shape
  readonly flat?: string
  readonly dims?: readonly string[]
}

export const keyOf = ({ shape, flat, dims }: Position): string =>
  flat === undefined ? `[${shape}]${dims?.join()}` : `[${shape}]${flat}`

/** The flat index. */
export function flatOf(position: Position, writer: Writer): string {
  const { shape, flat, dims = [] } = position
  if (flat !== undefined) return flat
  let stride = 1
  const terms: string[] = []
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const text = dims[axis] as string
    if (text !== '0' && shape[axis] !== 1) terms.unshift(stride === 1 ? text : `${text} * ${stride}`)
    stride *= shape[axis] as number
  }
  return terms.length === 0 ? '0' : writer.let(terms.join(' + '))
}

/** The index in every dimension. */
export function dimsOf(position: Position, writer: Writer): readonly string[] {
  const { shape, flat, dims } = position
  if (dims) return dims
  return divided(flat as string, shape, writer)
}

/** Splits a flat index of a shape. */
export function divided(flat: string, shape: Shape, writer: Writer): string[] {
  let stride = sizeOf(shape)
  let isFirst = true
  return shape.map((size) => {
    stride /= size
    if (size === 1) return '0'
    const quotient = stride === 1 ? flat : writer.let(`${flat} / ${stride}`)
    // The first index needs no remainder: positions are inside the tensor.
    const text = isFirst ? quotient : writer.let(`${quotient} % ${size}`)
    isFirst = false
    return text
  })
}

/** The position of an operand that is broadcast to the shape of `position`. */
export function broadcastPosition(position: Position, shape: Shape, writer: Writer): Position {
  if (shape.length === position.shape.length && shape.every((d, i) => d === position.shape[i])) return position
  if (sizeOf(shape) === 1) return { shape, flat: '0' }
  // Leading dimensions of 1 change nothing.
  if (sizeOf(shape) === sizeOf(position.shape)) return reshaped(position, shape, writer)
  const dims = dimsOf(position, writer).slice(position.shape.length - shape.length)
  return { shape, dims: dims.map((text, axis) => (shape[axis] === 1 ? '0' : text)) }
}

/** The same element in another shape of the same size. */
export function reshaped(position: Position, shape: Shape, writer: Writer): Position {
  if (position.flat !== undefined) return { shape, flat: position.flat }
  const dims = regrouped(position, shape)
  return dims ? { shape, dims } : { shape, flat: flatOf(position, writer) }
}

/** Indices in the new shape, if only dimensions of 1 come and go. */
function regrouped({ shape, dims = [] }: Position, to: Shape): string[] | null {
  const from = shape.flatMap((size, axis) => (size === 1 ? [] : [{ size, text: dims[axis] as string }]))
  const kept = to.filter((size) => size !== 1)
  if (from.length !== kept.length || from.some(({ size }, i) => size !== kept[i])) return null
  let next = 0
  return to.map((size) => (size === 1 ? '0' : (from[next++] as { text: string }).text))
}
