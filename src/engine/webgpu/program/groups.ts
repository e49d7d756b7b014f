/** Groups of maps and reductions that go over the same rows, and those rows. */
import { dim, sizeOf } from '../../../core/graph/shape.ts'
import type { Node, Tensor } from '../../../core/graph/tensor.ts'
import { isReduction } from '../codegen/maps.ts'
import { axesOf, type DeviceNode } from './rewrite.ts'

/** Maximum number of operands of a dispatch: the storage buffers that every device has. */
export const MAX_OPERANDS = 8

/** Maximum number of elements of an operand of a group in a bundle, since operands may have to be kept for longer. */
export const MAX_BUNDLED = 2 ** 19

/** Minimum number of rows of a group of maps that goes row by row when a reduction joins it. */
const MIN_ROWS = 64

/** The rows that a group goes over: a reduction adds up `width` elements of each. */
export interface Space {
  readonly rows: number
  readonly width: number
  /** Shape of the elements, and the axes that a row spans; null if rows are consecutive elements. */
  readonly across: { readonly shape: readonly number[]; readonly axes: readonly number[] } | null
}

export interface Group {
  kind: 'group'
  space: Space
  /** Roots in order of computation. */
  readonly roots: Root[]
}

export interface Root {
  readonly node: Node
  readonly output: number
  /** Tensors with memory that its expression reads. */
  readonly leaves: ReadonlySet<Tensor>
}

export interface KernelItem {
  readonly kind: 'kernel'
  readonly node: DeviceNode
}

/** Groups that are computed by one dispatch. */
export interface Bundle {
  readonly kind: 'bundle'
  readonly groups: readonly Group[]
}

export type Item = Group | KernelItem

/** Whether an item is a group that goes over these rows, which have few elements. */
export const isAlike = (item: Item, space: Space): boolean =>
  item.kind === 'group' && space.rows * space.width <= MAX_BUNDLED && sameSpace(item.space, space)

/** The rows of a root by itself. A map has rows of one element. */
export function spaceOf({ node, output }: Root): Space {
  if (!isReduction(node)) return { rows: sizeOf((node.outputs[output] as Tensor).shape), width: 1, across: null }
  const [{ shape }] = node.inputs as [Tensor]
  const axes = axesOf(node)
  const width = axes.reduce((product, axis) => product * dim(shape, axis), 1)
  const isTrailing = axes.every((axis, i) => axis === shape.length - axes.length + i)
  return { rows: sizeOf(shape) / width, width, across: isTrailing ? null : { shape, axes } }
}

/** The rows that a group and a new root can both go over; null if there are no such rows. */
export function commonSpace(group: Space, own: Space, { node }: Root): Space | null {
  const [groupSize, ownSize] = [group.rows * group.width, own.rows * own.width]
  if (isReduction(node)) {
    if (group.width > 1) return sameSpace(group, own) ? group : null
    const fits = groupSize === ownSize && own.across === null && own.rows >= MIN_ROWS
    return fits ? own : null
  }
  if (group.width === 1) return groupSize === ownSize ? group : null
  if (ownSize === group.rows) return group
  return ownSize === groupSize && group.across === null ? group : null
}

const sameSpace = (a: Space, b: Space): boolean =>
  a.rows === b.rows && a.width === b.width && JSON.stringify(a.across) === JSON.stringify(b.across)
