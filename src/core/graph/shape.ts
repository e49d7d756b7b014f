/** Shape arithmetic for op definitions. A shape error is a bug of the caller. */
import type { Shape } from './model.ts'
import { RAGGED } from './tensor.ts'

export const formatShape = (shape: Shape): string => `[${shape.map((d) => (d === RAGGED ? '?' : d)).join(', ')}]`

export function sizeOf(shape: Shape): number {
  return shape.reduce((product, d) => product * d, 1)
}

/** A dimension; negative axes count from the end. */
export function dim(shape: Shape, axis: number): number {
  return shape[normalAxis(axis, shape.length)] as number
}

export function normalAxis(axis: number, rank: number): number {
  const normal = axis < 0 ? axis + rank : axis
  if (normal < 0 || normal >= rank) throw new Error(`axis ${axis} of a tensor of rank ${rank}`)
  return normal
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i])

/** The shape of an elementwise result, by NumPy's broadcasting rules. */
export function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1
    const y = b[i - rank + b.length] ?? 1
    if (x !== y && x !== 1 && y !== 1)
      throw new Error(`shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`)
    return x === 1 ? y : x
  })
}

/** The shape after reducing over `axes`. */
export function reduced(shape: Shape, axes: readonly number[], keepDims: boolean): Shape {
  const gone = new Set(axes.map((axis) => normalAxis(axis, shape.length)))
  return keepDims ? shape.map((d, i) => (gone.has(i) ? 1 : d)) : shape.filter((_, i) => !gone.has(i))
}

/** The shape with one dimension replaced. */
export function withDim(shape: Shape, axis: number, size: number): Shape {
  const at = normalAxis(axis, shape.length)
  return shape.map((d, i) => (i === at ? size : d))
}
