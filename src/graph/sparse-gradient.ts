/**
 * The gradient of a table that is read by row (an embedding) is mostly "add these rows at these
 * places". As a graph that is a slow kernel and a table of zeros for every use; taken out of the graph,
 * it is one short pass over the rows, for whoever runs the program.
 */
import { add } from './ops/elementwise.ts'
import { zeros } from './ops/shape.ts'
import { sameShape } from './shape.ts'
import type { Tensor } from './tensor.ts'

/** Rows [..., D] to be added to a table at indices [...], int32. */
export interface RowAddition {
  readonly rows: Tensor
  readonly indices: Tensor
}

export interface SparseGradient {
  /** What is left in the graph; zeros when nothing is. */
  readonly dense: Tensor
  readonly additions: readonly RowAddition[]
}

/** Splits a sum into its `scatter-add` terms and the rest. */
export function splitScatters(gradient: Tensor): SparseGradient {
  const additions: RowAddition[] = []
  const rest: Tensor[] = []
  const visit = (term: Tensor): void => {
    const { op, inputs = [] } = term.application ?? {}
    const whole = inputs.every(({ shape }) => sameShape(shape, term.shape))
    if (op === 'add' && whole) for (const part of inputs) visit(part)
    else if (op === 'scatter-add') additions.push({ rows: inputs[0] as Tensor, indices: inputs[1] as Tensor })
    else rest.push(term)
  }
  visit(gradient)
  const dense = rest.length > 0 ? rest.reduce((sum, term) => add(sum, term)) : zeros(gradient.shape, gradient)
  return additions.length > 0 ? { dense, additions } : { dense: gradient, additions }
}
