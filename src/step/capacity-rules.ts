/**
 * The model that each capacity rule evaluates: a rule is a way to use the same parameters. `train` and `eval`
 * limit how many tokens of a batch an expert takes; `none` uses the model as generation does.
 */
import type { ModelConfig } from '../model/config.ts'
import type { CapacityRule } from '../model/routing/contract.ts'

/** A model as it is used token by token. */
export function generationConfig(given: ModelConfig): ModelConfig {
  if (!given.moe) return given
  const router = given.moe.router === 'expert-choice' ? 'top-k' : given.moe.router
  return { ...given, moe: { ...given.moe, router, capacity: 'none', groups: 1, compute: 'ragged' } }
}

/**
 * The model under a rule. Dropless it is that of generation, so with `expert-choice` every token takes its top k;
 * groups stay, since the balancing loss is taken within each.
 */
export function configUnder(config: ModelConfig, rule: CapacityRule): ModelConfig {
  if (rule !== 'none' || config.moe === null) return config
  const { moe, ...rest } = generationConfig(config)
  return { ...rest, moe: moe && { ...moe, groups: config.moe.groups } }
}
