/**
 * Sums the gradients of all shards.
 *
 *   a rank's shards → partial sums · reduce: owners get the sum over ranks · update · share: all get the parameters
 *
 * Gradients travel to the owner of a tensor, which adds them in the order of the tree, and new parameters travel back
 * (`parameter-sharing.ts`): together as many bytes as a ring all-reduce moves. If a tensor has relays (`placement.ts`),
 * they add its parts, in the same order, and the sums travel on to the owner. Gradients of large tensors leave during
 * the backward pass, as soon as they are complete ({@link GradientSum.early}); other gradients leave when it has ended.
 */
import { counterStep, treeAdditions } from '../../../core/graph/tree.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import type { Arena } from '../../../engine/contract/arena.ts'
import type { Addition, ArenaKernels } from '../../../engine/contract/arena-kernels.ts'
import { channels, type Ranks } from '../../../engine/contract/ranks.ts'
import { NOT_POSTED } from '../../../engine/contract/runtime.ts'
import { paddedFloats } from '../store/bank.ts'
import { shardsOfRank } from '../store/gradient-tree.ts'
import { heldSpecs, type Layout, type Part, type Share, sharesOf, sourcesKept } from '../store/placement.ts'
import type { ParameterStore } from '../store/store.ts'
import { RangeExchange, type RangeTransfer } from './range-exchange.ts'

/**
 * Maximum number of floats of received gradients in memory: of early gradients, then of two chunks at a time of the
 * others.
 */
const RECEIVED = 16 * 2 ** 20
/** Number of chunks in memory after the backward pass: one arrives while the other is added. */
const SLOTS = 2
/** Number of floats below which a tensor is not worth a transfer of its own while a program runs. */
export const SMALL = 4096

const chunkFloats = ({ ranks }: Layout): number =>
  Math.max(4096, paddedFloats(Math.floor(RECEIVED / SLOTS / (ranks - 1)) - 15))

/** Number of floats of gradients that the adder of a part receives; each piece begins at a cache line. */
const receivedFloats = ({ holders }: Share, { floats }: Part, pieces: number): number =>
  (holders.length - 1) * paddedFloats(Math.ceil(floats / pieces)) * pieces

/** Scratch memory that every bank needs, in floats. @param specs All tensors of the model. */
export const exchangeScratch = (specs: readonly ParameterSpec[], layout: Layout): number =>
  receiveScratch(sharesOf(heldSpecs(specs, layout), layout), layout)

/** Scratch memory for all that this rank receives, or as much as is allowed, in floats. */
function receiveScratch(shares: readonly Share[], layout: Layout): number {
  if (layout.ranks === 1) return 0
  const trained = shares.filter(({ spec }) => !spec.frozen)
  const isApart = sourcesKept(layout) > 1
  const pieces = ({ spec, from, to }: Share) => (spec.stacked && isApart ? to - from : 1)
  const added = trained.flatMap((share) =>
    share.parts.filter(({ adder }) => adder === layout.rank).map((part) => receivedFloats(share, part, pieces(share))),
  )
  const all = added.reduce((sum, floats) => sum + floats, 0)
  return Math.min(all, Math.max(RECEIVED, SLOTS * (layout.ranks - 1) * chunkFloats(layout)))
}

/** Floats of a part of a share. The offset and the count are in floats. */
interface Chunk {
  readonly share: Share
  /** The rank that adds the gradients. */
  readonly adder: number
  readonly arena: Arena
  readonly gradients: number
  readonly count: number
}

/** The gradients of a tensor that are exchanged during the backward pass, with the memory that they are received in. */
interface Early {
  readonly name: string
  readonly chunks: readonly { readonly chunk: Chunk; readonly at: number }[]
}

export class GradientSum {
  private readonly kernels: ArenaKernels
  private readonly store: ParameterStore
  private readonly ranks: Ranks | null
  private readonly exchange: RangeExchange | null
  private early: readonly Early[] = []
  /** Early exchanges that have begun outside a program. */
  private readonly begun = new Map<number, Promise<void>>()
  private late: readonly Chunk[]
  /** Chunks whose sums travel on to their owners. */
  private readonly relayed: readonly Chunk[]
  private readonly scratch = new Map<Arena, number>()
  /** Floats of scratch memory for early gradients. */
  private readonly earlyFloats = new Map<Arena, number>()

  constructor(kernels: ArenaKernels, store: ParameterStore, ranks: Ranks | null) {
    this.kernels = kernels
    this.store = store
    this.ranks = ranks
    this.exchange = ranks && new RangeExchange(ranks)
    this.late = ranks ? chunksOf(store) : []
    this.relayed = this.late.filter(({ adder, share }) => adder !== share.owner)
    const floats = receiveScratch(store.shares, store.layout)
    for (const { arena, adder, share } of this.late)
      if (adder === store.layout.rank && !this.scratch.has(arena))
        this.scratch.set(arena, store.allocateScratch(share.spec.name, floats).scratch)
  }

  /**
   * Chooses the gradients that are exchanged early. Every rank chooses the same gradients.
   * @param complete Tensors whose gradients are final when the program has written them, in the order in which they are
   * written.
   * @returns The transfers of each tensor.
   */
  exchangeEarly(
    complete: readonly string[],
  ): { readonly name: string; readonly transfers: readonly RangeTransfer[] }[] {
    const { rank } = this.store.layout
    if (!this.ranks || shardsOfRank(this.store.layout) > 1) return []
    /** Floats that each rank receives. */
    let received = new Array<number>(this.store.layout.ranks).fill(0)
    this.early = complete.flatMap((name): Early[] => {
      const chunks = this.late.filter(({ share }) => share.spec.name === name)
      if (chunks.reduce((sum, { count }) => sum + count, 0) < SMALL) return []
      const needed = [...received]
      for (const chunk of chunks)
        for (const adder of this.addersLike(chunk))
          needed[adder] = (needed[adder] as number) + (chunk.share.holders.length - 1) * paddedFloats(chunk.count)
      if (Math.max(...needed) > RECEIVED) return []
      received = needed
      return [
        {
          name,
          chunks: chunks.map((chunk) => {
            const { arena, adder, share, count } = chunk
            const before = this.earlyFloats.get(arena) ?? 0
            const own = adder === rank ? (share.holders.length - 1) * paddedFloats(count) : 0
            this.earlyFloats.set(arena, before + own)
            return { chunk, at: (this.scratch.get(arena) ?? 0) + before }
          }),
        },
      ]
    })
    const names = new Set(this.early.map(({ name }) => name))
    this.late = this.late.filter(({ share }) => !names.has(share.spec.name))
    return this.early.map((early) => ({ name: early.name, transfers: this.transfersOf(early) }))
  }

  /** Begins an early exchange, for a program that does not post it itself. @param index As from {@link exchangeEarly}. */
  beginEarly(index: number): void {
    const early = this.early[index]
    if (this.exchange && early)
      this.begun.set(index, this.exchange.exchange(channels['early gradients'], this.transfersOf(early)))
  }

  /** The adder of a chunk; for experts, also those of as many experts at the other places of the expert group. */
  private addersLike({ share: { spec }, adder }: Chunk): number[] {
    const { expert } = this.store.layout
    const first = adder - (adder % expert)
    return spec.stacked ? Array.from({ length: expert }, (_, place) => first + place) : [adder]
  }

  /**
   * Adds a shard's gradient, which is in the gradient region, to the gradients before it.
   * @param index Index of the shard, from 0 to n − 1.
   */
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
      await arena.write(partials[keepAt] as number, await arena.read(gradients, count))
  }

  /**
   * Replaces the gradients of owned tensors by their sum over source ranks, and over ranks; the gradients of other
   * tensors are used up.
   * @param tickets Tickets of the early exchanges, from the run of the program.
   */
  async reduce(tickets: readonly number[]): Promise<void> {
    const { ranks, exchange, store } = this
    if (!ranks || !exchange) return
    const early = this.finishEarly(ranks, exchange, tickets)
    // The failure is handled below.
    early.catch(() => {})
    const sums = store.gradientSources().flatMap(({ arena, parts, count }) =>
      treeAdditions(parts.length, 0).map(({ into, from }): Addition => {
        return { arena, to: parts[into] as number, from: parts[from] as number, count }
      }),
    )
    if (sums.length > 0) await this.kernels.add(sums)
    const isAdded = ({ adder }: Chunk) => adder === store.layout.rank
    const sent = this.late.filter((chunk) => !isAdded(chunk))
    await Promise.all([
      early,
      this.sendLate(exchange, sent),
      this.receiveLate(exchange, this.late.filter(isAdded), early),
    ])
    await this.passOn(exchange)
  }

  /** Relays send their sums to the owners, which have sent all gradients in whose place they receive the sums. */
  private async passOn(exchange: RangeExchange): Promise<void> {
    const { rank } = this.store.layout
    const transfers = this.relayed.flatMap(({ share, adder, arena, gradients, count }): RangeTransfer[] => {
      const range = { arena, start: gradients, count }
      if (adder === rank) return [{ ...range, peer: share.owner, direction: 'send' }]
      return share.owner === rank ? [{ ...range, peer: adder, direction: 'receive' }] : []
    })
    if (transfers.length > 0) await exchange.exchange(channels.gradients, transfers)
  }

  /** Sends chunks: all at once if they are sent in place, else as many at a time as there are slots. */
  private async sendLate(exchange: RangeExchange, chunks: readonly Chunk[]): Promise<void> {
    const most = chunks.some(({ arena }) => arena.host === null) ? SLOTS : chunks.length
    const sent: Promise<void>[] = []
    for (const [i, chunk] of chunks.entries()) {
      await sent[i - most]
      const sending = exchange.exchange(channels.gradients, this.transfers(chunk, 0))
      // The failure is handled when the chunk is awaited.
      sending.catch(() => {})
      sent.push(sending)
    }
    await Promise.all(sent)
  }

  /**
   * Receives and adds chunks, in slots of scratch memory: behind the early gradients, or in their place when they have
   * been added, if there is no room.
   */
  private async receiveLate(exchange: RangeExchange, chunks: readonly Chunk[], early: Promise<void>): Promise<void> {
    if (chunks.length === 0) return
    const floats = Math.max(...chunks.map(({ share, count }) => (share.holders.length - 1) * paddedFloats(count)))
    const most = receiveScratch(this.store.shares, this.store.layout)
    const behind = Math.max(...chunks.map(({ arena }) => this.earlyFloats.get(arena) ?? 0))
    const start = behind + floats <= most ? behind : 0
    if (start < behind) await early
    const count = Math.min(SLOTS, Math.floor((most - start) / floats))
    const slots: Promise<void>[] = Array.from({ length: count }, () => Promise.resolve())
    for (const [i, chunk] of chunks.entries()) {
      const slot = i % count
      await slots[slot]
      slots[slot] = this.receive(exchange, chunk, start + slot * floats)
      // The failure is handled when the slot is next awaited.
      slots[slot]?.catch(() => {})
    }
    await Promise.all(slots)
  }

  /** Waits for the early exchanges, and adds the gradients that have arrived. */
  private async finishEarly(ranks: Ranks, exchange: RangeExchange, tickets: readonly number[]): Promise<void> {
    const done = this.early.map((early, i) => {
      const begun = this.begun.get(i)
      if (begun) return begun
      const ticket = tickets[i] ?? NOT_POSTED
      return ticket === NOT_POSTED
        ? exchange.exchange(channels['early gradients'], this.transfersOf(early))
        : ranks.completion(ticket)
    })
    this.begun.clear()
    await Promise.all(done)
    const arrived = this.early.flatMap(({ chunks }) => chunks.flatMap(({ chunk, at }) => this.additions(chunk, at)))
    if (arrived.length > 0) await this.kernels.add(arrived)
  }

  /**
   * Receives a chunk from all other holders and adds it to this rank's chunk.
   * @param slot Place of the slot in scratch memory.
   */
  private async receive(exchange: RangeExchange, chunk: Chunk, slot: number): Promise<void> {
    const at = (this.scratch.get(chunk.arena) as number) + slot
    await exchange.exchange(channels.gradients, this.transfers(chunk, at))
    await this.kernels.add(this.additions(chunk, at))
  }

  private transfersOf({ chunks }: Early): RangeTransfer[] {
    return chunks.flatMap(({ chunk, at }) => this.transfers(chunk, at))
  }

  /**
   * The transfers of a chunk: the adder receives from all other holders, in memory from `at` on; another rank sends to
   * the adder.
   */
  private transfers(chunk: Chunk, at: number): RangeTransfer[] {
    const { share, adder, arena, gradients, count } = chunk
    const { rank } = this.store.layout
    if (adder !== rank) return [{ peer: adder, direction: 'send', arena, start: gradients, count }]
    const leaves = this.leaves(chunk, at)
    return share.holders.flatMap((peer, i): RangeTransfer[] =>
      peer === rank ? [] : [{ peer, direction: 'receive', arena, start: leaves[i] as number, count }],
    )
  }

  /** Places at which the adder has the gradients of all holders, in floats. */
  private leaves({ share: { holders }, gradients, count }: Chunk, at: number): number[] {
    const own = holders.indexOf(this.store.layout.rank)
    return holders.map((_, i) => (i === own ? gradients : at + (i < own ? i : i - 1) * paddedFloats(count)))
  }

  private additions(chunk: Chunk, at: number): Addition[] {
    const { arena, share, adder, count } = chunk
    const { rank } = this.store.layout
    if (adder !== rank) return []
    const leaves = this.leaves(chunk, at)
    return treeAdditions(leaves.length, share.holders.indexOf(rank)).map(({ into, from }): Addition => {
      return { arena, to: leaves[into] as number, from: leaves[from] as number, count }
    })
  }
}

/** All shares that are trained, in the same order on all ranks that hold them. */
function chunksOf(store: ParameterStore): Chunk[] {
  const most = chunkFloats(store.layout)
  return store.shares
    .filter(({ holders, spec }) => holders.length > 1 && !spec.frozen)
    .flatMap((share) =>
      share.parts.flatMap((part) =>
        store.piecesOf({ ...share, ...part }).flatMap(({ arena, gradients, count }) =>
          Array.from({ length: Math.ceil(count / most) }, (_, i): Chunk => {
            const start = gradients + i * most
            return { share, adder: part.adder, arena, gradients: start, count: Math.min(most, count - i * most) }
          }),
        ),
      ),
    )
}
