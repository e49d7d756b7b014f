/**
 * The gradient of a table that is read by row (an embedding) is mostly "add these rows at these indices".
 * In the graph that costs a slow ScatterElements and a table of zeros for every use. Outside the graph it
 * is one short pass over the rows, which the caller makes after it runs the program.
 */

import { sameShape } from '../shape.ts'
import type { Tensor } from '../tensor.ts'
import { add } from './elementwise.ts'
import { zeros } from './shape.ts'

/** Rows [..., D] to be added to a table at indices [...], int32. */
export interface RowAddition {
  readonly rows: Tensor
  readonly indices: Tensor
}

export interface SparseGradient {
  /** The terms that stay in the graph; zeros if there are none. */
  readonly dense: Tensor
  readonly additions: readonly RowAddition[]
}

/** Separates the `scatter-add` terms of a sum from the rest. */
export function splitScatters(gradient: Tensor): SparseGradient {
  const additions: RowAddition[] = []
  const rest: Tensor[] = []
  const visit = (term: Tensor): void => {
    const { op, inputs = [] } = term.application ?? {}
    const sameShapes = inputs.every(({ shape }) => sameShape(shape, term.shape))
    if (op === 'add' && sameShapes) for (const part of inputs) visit(part)
    else if (op === 'scatter-add') additions.push({ rows: inputs[0] as Tensor, indices: inputs[1] as Tensor })
    else rest.push(term)
  }
  visit(gradient)
  const dense = rest.length > 0 ? rest.reduce((sum, term) => add(sum, term)) : zeros(gradient.shape, gradient)
  return additions.length > 0 ? { dense, additions } : { dense: gradient, additions }
}
