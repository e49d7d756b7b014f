/** Logits with which the files of an export are compared: Choir's own, and those of the files, imported. */
import { matmul } from '../../../core/graph/ops/matmul.ts'
import { input } from '../../../core/graph/tensor.ts'
import { headScaleOf, type ModelConfig } from '../../../core/model/config.ts'
import { scaled } from '../../../core/model/layers.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { transformer } from '../../../core/model/transformer.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'
import { parameterTensors } from '../../../train/step/store/named-tensors.ts'
import { ParameterStore } from '../../../train/step/store/store.ts'
import { type ForeignModel, openForeignWeights } from '../../foreign/foreign-model.ts'
import type { ReadBack } from './contract.ts'

/**
 * Logits [T, V] at every position of one sequence of T tokens, by the pass of generation, dropless, in float32, for a
 * router that needs no choices from outside.
 */
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

/** Logits of exported files, by the path of `choir import`, into memory of their own. @param path For messages. */
export async function importedLogits(
  runtime: Runtime,
  path: string,
  files: Pick<ForeignModel, 'model' | 'theirs' | 'open'>,
  tokens: Int32Array,
): Promise<ReadBack> {
  const store = new ParameterStore(runtime, parameterSpecs(files.model), null)
  const weights = await openForeignWeights(path, files)
  try {
    for (const { name, shape, range } of parameterTensors(store))
      await range.arena.write(range.start, await weights.read({ name, shape }))
  } finally {
    await weights.close()
  }
  return { reader: 'choir import', logits: await ownLogits(runtime, files.model, store, tokens) }
}

/** The largest |a − b|; NaN if any number is NaN. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`internal: ${a.length} logits compared with ${b.length}`)
  let largest = 0
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs((a[i] as number) - (b[i] as number)))
  return largest
}
