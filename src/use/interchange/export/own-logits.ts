/** Computes Choir's own logits, with which an export is compared, by the pass of generation, dropless, in float32. */

import { matmul } from '../../../core/graph/ops/matmul.ts'
import { input } from '../../../core/graph/tensor.ts'
import { headScaleOf, type ModelConfig } from '../../../core/model/config.ts'
import { scaled } from '../../../core/model/layers.ts'
import { transformer } from '../../../core/model/transformer.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'

/** Logits [T, V] at every position of one sequence of T tokens, for a router that needs no choices from outside. */
export async function ownLogits(
  runtime: Runtime,
  config: ModelConfig,
  store: ModelStore,
  tokens: Int32Array,
): Promise<Float32Array> {
  const dropless = generationConfig(config)
  const parameters = store.trace()
  const pass = { batch: 1, sequence: tokens.length, training: false, capacity: 'none' as const }
  const { x_TD } = transformer(dropless, parameters, input('tokens', 'int32', [tokens.length]), pass)
  const head = parameters.get(config.tied ? 'embedding' : 'head')
  const executable = await runtime.compile({
    outputs: { logits: matmul(scaled(x_TD, headScaleOf(config)), head, { transposeB: true }) },
  })
  try {
    const logits = new Float32Array(tokens.length * config.vocabulary)
    const binding = executable.bind({ ...parameters.ports(), tokens, logits })
    try {
      await binding.run()
    } finally {
      binding.release()
    }
    return logits
  } finally {
    executable.release()
  }
}
