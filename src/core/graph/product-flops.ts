/** What a traced graph computes: the operations of its matrix products, and the tables that it only looks up. */
import { sizeOf } from './shape.ts'
import type { Node, Tensor } from './tensor.ts'

/**
 * Floating-point operations of all matrix products on which the outputs depend: a multiplication and an addition for
 * each term, 2·m·n·k for [m, k] × [k, n]. A product with a constant vector is not counted, since sums are such products,
 * nor is a product of rows whose number is known only at run time. The graph must be traced without kernels.
 */
export function productFlops(outputs: readonly Tensor[]): number {
  let total = 0
  for (const { type, inputs, outputs: results } of nodesOf(outputs)) {
    if (type !== 'MatMul' && type !== 'FusedMatMul') continue
    const [a, b] = inputs as readonly [Tensor, Tensor]
    const shape = results[0]?.shape ?? []
    if (isConstantVector(a) || isConstantVector(b) || [...a.shape, ...shape].some((size) => size < 0)) continue
    // The last two dimensions of a are m and k, in either order.
    const terms = ((a.shape.at(-1) ?? 1) * (a.shape.at(-2) ?? 1)) / (shape.at(-2) ?? 1)
    total += 2 * sizeOf(shape) * terms
  }
  return total
}

/** Names of the inputs that are tables: nothing reads them but lookups of rows, which are no matrix products. */
export function tablesOf(outputs: readonly Tensor[]): ReadonlySet<string> {
  const tables = new Set<string>()
  const others = new Set<string>()
  for (const { type, inputs } of nodesOf(outputs))
    for (const [index, { source }] of inputs.entries())
      if (source.kind === 'input') (type === 'Gather' && index === 0 ? tables : others).add(source.name)
  return new Set([...tables].filter((name) => !others.has(name)))
}

/** The nodes on which the outputs depend, each once. */
function* nodesOf(outputs: readonly Tensor[]): Generator<Node> {
  const seen = new Set<Node>()
  const stack = [...outputs]
  for (let tensor = stack.pop(); tensor; tensor = stack.pop()) {
    const { source } = tensor
    if (source.kind !== 'node' || seen.has(source)) continue
    seen.add(source)
    stack.push(...source.inputs)
    yield source
  }
}

const isConstantVector = ({ source, shape }: Tensor): boolean =>
  source.kind === 'constant' && sizeOf(shape) === Math.max(1, ...shape)
