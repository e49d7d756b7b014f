/**
 * Recomputation of a part of the graph in the backward pass (activation checkpointing, Chen et al. 2016): only its
 * inputs are kept.
 */
import { gradient } from './gradient.ts'
import { multiply } from './ops/elementwise.ts'
import { sum } from './ops/reduction.ts'
import { defineOp, type Tensor } from './tensor.ts'

/** `compute(inputs)`, whose intermediate results are computed again for the gradient. */
export const recomputed: (inputs: readonly Tensor[], compute: (inputs: readonly Tensor[]) => Tensor) => Tensor =
  defineOp('recomputed', 'expert', (inputs: readonly Tensor[], compute: (inputs: readonly Tensor[]) => Tensor) => ({
    result: compute(inputs.map(leaf)),
    inputs,
    gradient: (dy) => {
      if (!dy) return []
      const leaves = inputs.map(leaf)
      return gradient(sum(multiply(compute(leaves), dy)), leaves)
    },
  }))

/** The same value, from which gradients do not flow on. */
function leaf(tensor: Tensor): Tensor {
  const { application: _, ...rest } = tensor
  return rest
}
