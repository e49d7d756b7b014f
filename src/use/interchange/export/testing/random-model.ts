/** A small model with random parameters in memory. */
import { type ModelConfig, modelSchema } from '../../../../core/model/config.ts'
import { parameterSpecs } from '../../../../core/model/parameters.ts'
import { randomFor } from '../../../../core/random.ts'
import { floatsOf } from '../../../../engine/contract/arena.ts'
import { cpuMemory } from '../../../../engine/testing/cpu-memory.ts'
import { ParameterStore } from '../../../../train/step/store/store.ts'

export interface RandomModel {
  readonly config: ModelConfig
  readonly store: ParameterStore
}

/** A model whose values are so large that routers have clear preferences and every part of it changes the logits. */
export function randomModel(seed: number, settings: Parameters<typeof modelSchema.parse>[0] & object): RandomModel {
  const config = modelSchema.parse({ vocabulary: 23, layers: 2, width: 16, heads: 4, hidden: 20, ...settings })
  const store = new ParameterStore(cpuMemory, parameterSpecs(config), null)
  for (const { name, shape } of store.specs) {
    const random = randomFor(seed, name)
    const isNorm = /norm$/i.test(name)
    const scale = /router$|embedding$|head$|positions$/.test(name) ? 1 : 1 / Math.sqrt(shape.at(-2) ?? 4)
    const values = floatsOf(store.parameter(name))
    for (let i = 0; i < values.length; i++)
      values[i] = isNorm ? 0.7 + 0.6 * random.uniform() : scale * 3 ** 0.5 * (2 * random.uniform() - 1)
  }
  return { config, store }
}

/** Tokens of a text for a model. */
export const tokensOf = ({ config }: RandomModel, length: number): Int32Array =>
  Int32Array.from({ length }, (_, i) => (i * 7 + 3) % config.vocabulary)
