/** Loads of four floats at once where rows allow it, which take fewer instructions for the same bytes. */
import type { AnyCall, Operand } from './contract.ts'
import { bytesOfNumber } from './memory.ts'

/**
 * The elements that an invocation loads at once. WGSL is the same for both types, but for sums and single components.
 */
export interface Vector {
  readonly type: 'f32' | 'vec4<f32>'
  /** Number of floats. */
  readonly width: 1 | 4
  /** WGSL of the sum of the components of an expression. */
  readonly total: (x: string) => string
  /** WGSL of the largest component of a variable. */
  readonly largest: (x: string) => string
  /** WGSL of a component of a variable, by an index from 0 to `width` − 1. */
  readonly component: (x: string, index: string) => string
}

const SCALAR: Vector = {
  type: 'f32',
  width: 1,
  total: (x) => x,
  largest: (x) => x,
  component: (x) => x,
}

const FOUR: Vector = {
  type: 'vec4<f32>',
  width: 4,
  total: (x) => `dot(${x}, vec4<f32>(1.0))`,
  largest: (x) => `max(max(${x}.x, ${x}.y), max(${x}.z, ${x}.w))`,
  component: (x, index) => `${x}[${index}]`,
}

/** The vector for arrays whose rows have `width` floats. The memory of an empty array holds no vector of four. */
export const vectorOf = (width: number): Vector => (width > 0 && width % 4 === 0 ? FOUR : SCALAR)

/** Number of columns of a tensor of rows. */
export const widthOf = ({ shape }: Operand): number => shape.at(-1) as number

/** Number of rows of a tensor, over all axes but the last. */
export const heightOf = ({ shape }: Operand): number => shape.slice(0, -1).reduce((product, d) => product * d, 1)

/** Number of bytes of tensors that are read or written once. */
export const bytesOf = (...tensors: readonly (Pick<Operand, 'size' | 'dtype'> | undefined)[]): number =>
  tensors.reduce((total, tensor) => total + (tensor ? tensor.size * bytesOfNumber(tensor.dtype) : 0), 0)

/** Number of bytes of a call that reads or writes each of its tensors once. */
export const bytesOfCall = ({ inputs, addends, outputs }: AnyCall): number =>
  bytesOf(...[inputs, addends, outputs].flatMap((tensors) => Object.values(tensors)))
