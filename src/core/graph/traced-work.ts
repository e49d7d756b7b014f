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

/** A lookup of rows of an input, by their indices. */
export interface RowLookup {
  /** Number of rows that it reads. */
  readonly rows: number
  /** Number of floats of a row. */
  readonly width: number
}

/** Every lookup of rows of an input on which the outputs depend. The graph must be traced without kernels. */
export function rowLookups(outputs: readonly Tensor[]): RowLookup[] {
  return nodesOf(outputs).flatMap(({ type, inputs: [table, indices] }) =>
    type === 'Gather' && table?.source.kind === 'input' && indices
      ? [{ rows: sizeOf(indices.shape), width: sizeOf(table.shape.slice(1)) }]
      : [],
  )
}

/** Names of the inputs that are tables: nothing reads them but lookups of rows, which are no matrix products. */
export function tablesOf(outputs: readonly Tensor[]): ReadonlySet<string> {
  const reads = nodesOf(outputs).flatMap(({ type, inputs }) =>
    inputs.flatMap(({ source }, index) =>
      source.kind === 'input' ? [{ name: source.name, isLookup: type === 'Gather' && index === 0 }] : [],
    ),
  )
  const others = new Set(reads.flatMap(({ name, isLookup }) => (isLookup ? [] : [name])))
  return new Set(reads.flatMap(({ name }) => (others.has(name) ? [] : [name])))
}

/** The nodes on which the outputs depend, each once. */
function nodesOf(outputs: readonly Tensor[]): Node[] {
  const seen = new Set<Node>()
  const stack = [...outputs]
  for (let tensor = stack.pop(); tensor; tensor = stack.pop()) {
    const { source } = tensor
    if (source.kind !== 'node' || seen.has(source)) continue
    seen.add(source)
    stack.push(...source.inputs)
  }
  return [...seen]
}

const isConstantVector = ({ source, shape }: Tensor): boolean =>
  source.kind === 'constant' && sizeOf(shape) === Math.max(1, ...shape)
