/**
 * The model configuration under each capacity rule, with the same parameters. `train` and `eval` limit the tokens
 * that an expert takes from a batch; `none` uses the model as in generation.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import { type CapacityRule, capacityRules } from '../../../core/model/routing/contract.ts'

/** The configuration for generating token by token: dropless, and top-k in place of expert choice. */
export function generationConfig(config: ModelConfig): ModelConfig {
  if (!config.moe) return config
  const router = config.moe.router === 'expert-choice' ? 'top-k' : config.moe.router
  return { ...config, moe: { ...config.moe, router, capacity: 'none', groups: 1, compute: 'ragged' } }
}

/**
 * The configuration under a rule. Under `none` it is {@link generationConfig}, so with `expert-choice` every token
 * takes its top k; but groups are kept, since the balancing loss is computed within each.
 */
export function configForCapacity(config: ModelConfig, rule: CapacityRule): ModelConfig {
  if (rule !== 'none' || config.moe === null) return config
  const { moe, ...rest } = generationConfig(config)
  return { ...rest, moe: moe && { ...moe, groups: config.moe.groups } }
}

/** Computes a value for each rule. */
export const byRule = <T>(of: (rule: CapacityRule) => T): Record<CapacityRule, T> => {
  const [train, evaluation, none] = capacityRules
  return { train: of(train), eval: of(evaluation), none: of(none) }
}
