/**
 * Sums the gradients of all shards, and keeps the parameters of all ranks equal.
 *
 *   a rank's shards → partial sums · reduce: owners get the sum over ranks · update · share: all get the parameters
 *
 * Gradients travel to the owner of a tensor, which adds them in the order of the tree, and new parameters travel back:
 * as many bytes as a ring all-reduce moves.
 */
import { sizeOf } from '../graph/shape.ts'
import { treeAdditions } from '../graph/tree.ts'
import type { Arena } from '../runtime/arena.ts'
import type { Addition, ArenaKernels } from '../runtime/arena-kernels.ts'
import { channels, type Ranks, type Transfer } from '../runtime/ranks.ts'
import { paddedFloats } from './bank.ts'
import { counterStep, shardsOfRank } from './gradient-tree.ts'
import type { Layout, Share } from './placement.ts'
import type { ParameterStore } from './store.ts'

/** Floats of received gradients in memory at a time, over all other ranks, for each of two chunks. */
const RECEIVED = 4 * 2 ** 20
/** Chunks in memory: one arrives while the other is added. */
const SLOTS = 2

const chunkFloats = ({ ranks }: Layout): number => Math.max(4096, paddedFloats(Math.floor(RECEIVED / (ranks - 1)) - 15))

/** Scratch memory that every bank needs, in floats. */
export const exchangeScratch = (layout: Layout): number =>
  layout.ranks === 1 ? 0 : SLOTS * (layout.ranks - 1) * chunkFloats(layout)

/** Part of a share. Offsets and count in floats. */
interface Chunk {
  readonly share: Share
  readonly arena: Arena
  readonly gradients: number
  readonly count: number
}

export class GradientSum {
  private readonly kernels: ArenaKernels
  private readonly store: ParameterStore
  private readonly ranks: Ranks | null
  private readonly chunks: readonly Chunk[]
  private readonly scratch = new Map<Arena, number>()

  constructor(kernels: ArenaKernels, store: ParameterStore, ranks: Ranks | null) {
    this.kernels = kernels
    this.store = store
    this.ranks = ranks
    this.chunks = ranks ? chunksOf(store) : []
    for (const { arena, share } of this.chunks)
      if (share.owner === store.layout.rank && !this.scratch.has(arena))
        this.scratch.set(arena, store.allocateScratch(share.spec.name, exchangeScratch(store.layout)).scratch)
  }

  /** Adds a shard's gradient, which is in the gradient region, to those before it. @param index From 0 to n − 1. */
  async addShard(index: number): Promise<void> {
    const { add, keepAt } = counterStep(index, shardsOfRank(this.store.layout))
    const regions = this.store.gradientRegions()
    const sums = add.flatMap((level) =>
      regions.map(({ arena, gradients, partials, count }): Addition => {
        return { arena, to: gradients, from: partials[level] as number, count }
      }),
    )
    if (sums.length > 0) await this.kernels.add(sums)
    if (keepAt === null) return
    for (const { arena, gradients, partials, count } of regions)
      arena.floats(partials[keepAt], count).set(arena.floats(gradients, count))
  }

  /**
   * Replaces the gradients of owned tensors by their sum over source ranks, and over ranks; those of other tensors are
   * used up.
   */
  async reduce(): Promise<void> {
    const { ranks, store } = this
    if (!ranks) return
    const sums = store.gradientSources().flatMap(({ arena, parts, count }) =>
      treeAdditions(parts.length, 0).map(({ into, from }): Addition => {
        return { arena, to: parts[into] as number, from: parts[from] as number, count }
      }),
    )
    if (sums.length > 0) await this.kernels.add(sums)
    const { rank } = store.layout
    const isOwned = ({ share }: Chunk) => share.owner === rank
    const sent = this.chunks
      .filter((chunk) => !isOwned(chunk))
      .map(({ share, arena, gradients, count }) =>
        ranks.exchange(channels.gradients, [
          { peer: share.owner, direction: 'send', array: arena.floats(gradients, count) },
        ]),
      )
    const slots: Promise<void>[] = Array.from({ length: SLOTS }, () => Promise.resolve())
    for (const [i, chunk] of this.chunks.filter(isOwned).entries()) {
      const slot = i % SLOTS
      await slots[slot]
      slots[slot] = this.receive(ranks, chunk, slot)
      // Handled when the slot is next awaited.
      slots[slot]?.catch(() => {})
    }
    await Promise.all([...sent, ...slots])
  }

  /** Receives a chunk from all other holders and adds it to the own one. */
  private async receive(ranks: Ranks, chunk: Chunk, slot: number): Promise<void> {
    const { share, arena, gradients, count } = chunk
    const { layout } = this.store
    const floats = chunkFloats(layout)
    const start = (this.scratch.get(arena) as number) + slot * (layout.ranks - 1) * floats
    const own = share.holders.indexOf(layout.rank)
    const leaf = share.holders.map((_, i) => (i === own ? gradients : start + (i < own ? i : i - 1) * floats))
    await ranks.exchange(
      channels.gradients,
      share.holders.flatMap((peer, i): Transfer[] =>
        i === own ? [] : [{ peer, direction: 'receive', array: arena.floats(leaf[i], count) }],
      ),
    )
    await this.kernels.add(
      treeAdditions(share.holders.length, own).map(({ into, from }): Addition => {
        return { arena, to: leaf[into] as number, from: leaf[from] as number, count }
      }),
    )
  }

  /** Sends the updated parameters of owned tensors to all ranks that hold them. */
  async share(): Promise<void> {
    const { ranks, store } = this
    if (!ranks) return
    const { rank } = store.layout
    const transfers = store.shares.flatMap((share): Transfer[] => {
      const { arena, parameters } = store.piecesOf(share)[0] as { arena: Arena; parameters: number }
      const array = arena.floats(parameters, floatsOf(share))
      if (share.owner !== rank) return [{ peer: share.owner, direction: 'receive', array }]
      return share.holders
        .filter((holder) => holder !== rank)
        .map((peer) => ({ peer, direction: 'send' as const, array }))
    })
    await ranks.exchange(channels.parameters, transfers)
  }
}

/** All shares in the same order on all ranks that hold them. */
function chunksOf(store: ParameterStore): Chunk[] {
  const most = chunkFloats(store.layout)
  return store.shares
    .filter(({ holders }) => holders.length > 1)
    .flatMap((share) =>
      store.piecesOf(share).flatMap(({ arena, gradients, count }) =>
        Array.from({ length: Math.ceil(count / most) }, (_, i): Chunk => {
          return { share, arena, gradients: gradients + i * most, count: Math.min(most, count - i * most) }
        }),
      ),
    )
}

/** Floats of a share. */
const floatsOf = ({ spec, from, to }: Share): number =>
  (sizeOf(spec.shape) / (spec.stacked ? (spec.shape[0] as number) : 1)) * (to - from)
