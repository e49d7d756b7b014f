/**
 * Experts of the hash and random routers, which do not depend on activations but only on the token, or on
 * seed and position. So a token keeps its experts, whether it is computed in a prompt, alone, or again.
 */

import { activatedExperts, type RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { hashTableOf } from '../../../core/model/routing/hash.ts'
import { drawDistinct, randomFor } from '../../../core/random.ts'
import { moduleLabels } from '../../../train/step/passes/pass.ts'

export class PredeterminedExperts {
  private readonly config: ModelConfig
  private readonly seed: number
  private readonly tables = new Map<string, Int32Array>()
  /** Number of tokens of the text before position 0 of the cache. */
  offset = 0

  constructor(config: ModelConfig, seed: number) {
    this.config = config
    this.seed = seed
  }

  /** Writes the K experts of a token into `experts`; `position` is its position in the context. */
  choose(layer: number, token: number, position: number, experts: Int32Array, module: RoutedModule = 'ffn'): void {
    const { moe } = this.config
    if (!moe) return
    const count = activatedExperts(moe)
    if (moe.router === 'hash') experts.set(this.table(layer, module).subarray(token * count, (token + 1) * count))
    if (moe.router === 'random') {
      const labels = [this.offset + position, ...moduleLabels(layer, module)]
      const random = randomFor(this.seed, 'generate', 'routing', ...labels)
      drawDistinct(experts, count, moe.experts, random)
    }
  }

  private table(layer: number, module: RoutedModule): Int32Array {
    const key = `${layer}.${module}`
    const table = this.tables.get(key) ?? hashTableOf(this.config, layer, module)
    this.tables.set(key, table)
    return table
  }
}
