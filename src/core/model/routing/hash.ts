/**
 * Hash routing (Roller et al. 2021, "Hash Layers"): the expert is a fixed function of the token id.
 * Each routed module of a layer has its own table. Ids are assigned in a shuffled order, so every expert
 * gets the same number of ids (not of tokens: text is not uniform).
 */
import type { MoeConfig, RoutedModule } from '../config/moe-config.ts'

/** The order of modules by which tables are numbered. */
const MODULES: readonly RoutedModule[] = ['ffn', 'qkv', 'output']

interface HashedModel {
  readonly vocabulary: number
  readonly layers: number
  readonly moe: MoeConfig | null
}

/** The table of a routed module of a layer. Models with different seeds share no table. */
export function hashTableOf({ vocabulary, layers, moe }: HashedModel, layer: number, module: RoutedModule): Int32Array {
  if (!moe) throw new Error('internal: a hash table of a dense model')
  const index = layer + layers * MODULES.indexOf(module) + moe.hashSeed * layers * MODULES.length
  const tableOf = moe.hashChoices === 'consecutive' ? consecutiveTable : hashTable
  return tableOf(vocabulary, moe.experts, moe.k, index)
}

/**
 * Experts of every token id [V, k], distinct in a row. The table is deterministic. Every choice has a shuffled order of
 * its own, so that the k experts of an id do not depend on each other: all N(N−1) ordered pairs occur, not only
 * neighbours.
 */
export function hashTable(vocabulary: number, experts: number, k: number, table: number): Int32Array {
  const experts_VK = new Int32Array(vocabulary * k).fill(-1)
  const rowOf = (v: number) => experts_VK.subarray(v * k, (v + 1) * k)
  for (let j = 0; j < k; j++) {
    const next_V = shuffledRanks(vocabulary, table, j).map((rank) => rank % experts)
    for (let v = 0; v < vocabulary; v++) {
      const row = rowOf(v)
      if (row.includes(next_V[v] as number)) next_V[v] = exchange(next_V, v, rowOf, experts)
      row[j] = next_V[v] as number
    }
  }
  return experts_VK
}

/**
 * An expert for id `v` that its row lacks. It trades with the next id that can take `v`'s expert in return, so every
 * expert keeps its number of ids; without such an id, in a small vocabulary, it is the first expert that the row lacks.
 */
function exchange(next_V: Int32Array, v: number, rowOf: (v: number) => Int32Array, experts: number): number {
  const own = next_V[v] as number
  const row = rowOf(v)
  for (let other = v + 1; other < next_V.length; other++) {
    const offered = next_V[other] as number
    if (row.includes(offered) || rowOf(other).includes(own)) continue
    next_V[other] = own
    return offered
  }
  return Array.from({ length: experts }, (_, e) => e).find((e) => !row.includes(e)) as number
}

/**
 * A table of earlier versions: choice j is the j-th expert after the first, so an id has one of N groups of experts.
 */
function consecutiveTable(vocabulary: number, experts: number, k: number, table: number): Int32Array {
  const experts_VK = new Int32Array(vocabulary * k)
  shuffledRanks(vocabulary, table, 0).forEach((rank, v) => {
    for (let j = 0; j < k; j++) experts_VK[v * k + j] = (rank + j) % experts
  })
  return experts_VK
}

/** The rank of each token id in a shuffled order [V]. */
function shuffledRanks(vocabulary: number, table: number, choice: number): Int32Array {
  const order = Int32Array.from({ length: vocabulary }, (_, v) => v)
  let state = Math.imul(table + 1, 0x9e3779b9) ^ mix(choice)
  for (let v = vocabulary - 1; v > 0; v--) {
    state = (state + 0x9e3779b9) >>> 0
    const other = mix(state) % (v + 1)
    const swapped = order[v] as number
    order[v] = order[other] as number
    order[other] = swapped
  }
  return order
}

/** The finaliser of MurmurHash3: spreads every bit of its input over the result. */
function mix(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
