/** Keys and values of earlier tokens: the names of the tables, and their contents in a pass over a prompt. */
import { transpose } from '../../graph/ops/shape.ts'
import type { Tensor } from '../../graph/tensor.ts'
import type { ModelConfig } from '../config.ts'

/** Name of a table of a layer. */
export const cacheName = (layer: number, kind: 'keys' | 'values'): string => `layers.${layer}.attention.${kind}`

/**
 * Keys (after rotation) and values [1, S, KV, d] of every layer of a traced pass over one sequence, by
 * {@link cacheName}, as further outputs of the same program. They are found by walking back from `x_TD`.
 */
export function keysAndValues(config: ModelConfig, x_TD: Tensor): Record<string, Tensor> {
  const found: Record<string, Tensor> = {}
  const seen = new Set<unknown>()
  const stack = [x_TD]
  for (let tensor = stack.pop(); tensor; tensor = stack.pop()) {
    const { application } = tensor
    if (!application || seen.has(application)) continue
    seen.add(application)
    stack.push(...application.inputs)
    if (application.op !== 'causal-attention') continue
    const [, keys, values] = application.inputs as [Tensor, Tensor, Tensor]
    found[`${application.layer}.keys`] = transpose(keys, [0, 2, 1, 3])
    found[`${application.layer}.values`] = transpose(values, [0, 2, 1, 3])
  }
  for (let layer = 0; layer < config.layers; layer++)
    for (const kind of ['keys', 'values'] as const)
      if (!found[cacheName(layer, kind)]) throw new Error(`internal: no ${cacheName(layer, kind)} in the pass`)
  return found
}
