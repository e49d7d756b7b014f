/** Counts the operations of the matrix products of a traced graph. */
import { sizeOf } from './shape.ts'
import type { Tensor } from './tensor.ts'

/**
 * Floating-point operations of all matrix products on which the outputs depend: a multiplication and an addition for
 * each term, 2·m·n·k for [m, k] × [k, n]. A product with a constant vector is not counted, since sums are such products,
 * nor is a product of rows whose number is known only at run time. The graph must be traced without kernels.
 */
export function productFlops(outputs: readonly Tensor[]): number {
  const seen = new Set<unknown>()
  const stack = [...outputs]
  let total = 0
  for (let tensor = stack.pop(); tensor; tensor = stack.pop()) {
    const { source } = tensor
    if (source.kind !== 'node' || seen.has(source)) continue
    seen.add(source)
    stack.push(...source.inputs)
    if (source.type !== 'MatMul' && source.type !== 'FusedMatMul') continue
    const [a, b] = source.inputs as readonly [Tensor, Tensor]
    const shape = source.outputs[0]?.shape ?? []
    if (isConstantVector(a) || isConstantVector(b) || [...a.shape, ...shape].some((size) => size < 0)) continue
    // The last two dimensions of a are m and k, in either order.
    const terms = ((a.shape.at(-1) ?? 1) * (a.shape.at(-2) ?? 1)) / (shape.at(-2) ?? 1)
    total += 2 * sizeOf(shape) * terms
  }
  return total
}

const isConstantVector = ({ source, shape }: Tensor): boolean =>
  source.kind === 'constant' && sizeOf(shape) === Math.max(1, ...shape)
