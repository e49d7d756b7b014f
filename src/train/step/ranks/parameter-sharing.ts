/**
 * Keeps the parameters of all ranks equal: after an update the owner of a tensor sends it to all ranks that hold it.
 * Parameters leave while others are updated, and travel while the next step already runs, in the order in which its
 * program reads them; the program waits for each group ({@link ParameterSharing.arrivals}). Anything else that reads
 * parameters waits for all of them ({@link ParameterSharing.settle}).
 */

import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { isRouterBias } from '../../../core/model/routing/router-bias.ts'
import { type Begun, channels, type Ranks } from '../../../engine/contract/ranks.ts'
import type { ParameterStore } from '../store.ts'
import { SMALL } from './gradient-sum.ts'
import { RangeExchange, type RangeTransfer } from './range-exchange.ts'

export class ParameterSharing {
  /** Names of trained tensors that travel together, in the order in which programs read them. */
  readonly groups: readonly ReadonlySet<string>[]
  private readonly store: ParameterStore
  private readonly exchange: RangeExchange | null
  private begun: Begun[] = []

  /** @param ranks The ranks of the training; null for a process alone, which shares nothing. */
  constructor(store: ParameterStore, ranks: Ranks | null) {
    const trained = store.specs.filter(({ frozen }) => !frozen)
    this.groups = ranks ? groupsOf(trained) : [new Set(trained.map(({ name }) => name))]
    this.store = store
    this.exchange = ranks && new RangeExchange(ranks)
  }

  /** Begins to send the owned parameters of a group, and to receive the others. Call it for all groups, in order. */
  begin(group: ReadonlySet<string>): void {
    if (this.exchange) this.begun.push(this.exchange.begin(channels.parameters, this.transfers(group)))
  }

  /** Waits until all parameters have left and arrived. */
  async settle(): Promise<void> {
    const { begun } = this
    this.begun = []
    await Promise.all(begun.map(({ done }) => done))
  }

  /** Tickets of the exchanges that may be under way: one for each of the {@link groups}, or no ticket. */
  get arrivals(): number[] {
    return this.begun.map(({ ticket }) => ticket)
  }

  private transfers(names: ReadonlySet<string>): RangeTransfer[] {
    const { store } = this
    const { rank } = store.layout
    return store.shares.flatMap((share): RangeTransfer[] => {
      // Every rank computes the biases of routers itself, from the loads of all ranks, while other parameters travel.
      if (!names.has(share.spec.name) || isRouterBias(share.spec.name)) return []
      const { arena, start } = store.parameter(share.spec.name)
      const range = { arena, start: start + share.start, count: share.floats }
      if (share.owner !== rank) return [{ ...range, peer: share.owner, direction: 'receive' }]
      return share.holders
        .filter((holder) => holder !== rank)
        .map((peer) => ({ ...range, peer, direction: 'send' as const }))
    })
  }
}

/**
 * Groups of tensors in the order of the model: the matrices of a layer are a group, and so is each other matrix. Small
 * tensors come first, because a program copies some of them when it begins.
 */
function groupsOf(specs: readonly ParameterSpec[]): ReadonlySet<string>[] {
  const groups = new Map<string, Set<string>>([['small', new Set()]])
  for (const { name, shape } of specs) {
    const layer = /^layers\.\d+\./.exec(name)?.[0] ?? name
    const key = sizeOf(shape) <= SMALL ? 'small' : layer
    groups.set(key, (groups.get(key) ?? new Set()).add(name))
  }
  return [...groups.values()].filter(({ size }) => size > 0)
}
