/**
 * Hash routing (Roller et al. 2021, "Hash Layers"): the expert is a fixed function of the token id.
 * Each routed module of a layer has its own table. Ids are assigned in a shuffled order, so every expert
 * gets the same number of ids (not of tokens: text is not uniform).
 */
import type { ModelConfig } from '../config.ts'
import type { RoutedModule } from '../parameters.ts'

/** The order that numbers the tables. */
const MODULES: readonly RoutedModule[] = ['ffn', 'qkv', 'output']

/** The table of a routed module of a layer. Models with different seeds share no table. */
export function hashTableOf({ vocabulary, layers, moe }: ModelConfig, layer: number, module: RoutedModule): Int32Array {
  if (!moe) throw new Error('internal: a hash table of a dense model')
  const index = layer + layers * MODULES.indexOf(module)
  return hashTable(vocabulary, moe.experts, moe.k, index + moe.hashSeed * layers * MODULES.length)
}

/** Experts of every token id [V, k], distinct in a row. Deterministic. */
export function hashTable(vocabulary: number, experts: number, k: number, table: number): Int32Array {
  const order = Int32Array.from({ length: vocabulary }, (_, v) => v)
  let state = Math.imul(table + 1, 0x9e3779b9)
  for (let v = vocabulary - 1; v > 0; v--) {
    state = (state + 0x9e3779b9) >>> 0
    const other = mix(state) % (v + 1)
    const swapped = order[v] as number
    order[v] = order[other] as number
    order[other] = swapped
  }
  const experts_VK = new Int32Array(vocabulary * k)
  order.forEach((rank, v) => {
    for (let j = 0; j < k; j++) experts_VK[v * k + j] = (rank + j) % experts
  })
  return experts_VK
}

/** The finaliser of MurmurHash3: spreads every bit of its input over the result. */
function mix(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
