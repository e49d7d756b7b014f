/**
 * Experts that do not depend on activations. Both are functions of what they are for, so a token keeps
 * its experts however the tokens around it are computed: all at once, one by one, or again.
 */
import type { ModelConfig } from '../../model/config.ts'
import { activatedExperts } from '../../model/parameters.ts'
import { hashTable } from '../../model/routing/hash.ts'
import { drawDistinct, randomFor } from '../random.ts'

export class GivenExperts {
  private readonly config: ModelConfig
  private readonly seed: number
  private readonly tables = new Map<number, Int32Array>()
  /** Tokens of the text before position 0 of the cache. */
  offset = 0

  constructor(config: ModelConfig, seed: number) {
    this.config = config
    this.seed = seed
  }

  /** Writes the K experts of a token at a position of the cache into `experts`. */
  choose(layer: number, token: number, position: number, experts: Int32Array): void {
    const { moe } = this.config
    if (!moe) return
    const count = activatedExperts(moe)
    if (moe.router === 'hash') experts.set(this.table(layer).subarray(token * count, (token + 1) * count))
    if (moe.router === 'random') {
      const random = randomFor(this.seed, 'generate', 'routing', this.offset + position, layer)
      drawDistinct(experts, count, moe.experts, random)
    }
  }

  private table(layer: number): Int32Array {
    const { vocabulary, moe } = this.config
    const known = this.tables.get(layer)
    if (known || !moe) return known ?? new Int32Array()
    const table = hashTable(vocabulary, moe.experts, moe.k, layer)
    this.tables.set(layer, table)
    return table
  }
}
