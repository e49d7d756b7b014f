/**
 * Keeps the parameters of all ranks equal: after an update the owner of a tensor sends it to all ranks that hold it, or
 * in parts to its relays (`placement.ts`), which send them to all others.
 * Parameters leave while others are updated, and travel while the next step already runs, in the order in which its
 * program reads them; the program waits for each group ({@link ParameterSharing.arrivals}). Anything else that reads
 * parameters waits for all of them ({@link ParameterSharing.settle}).
 */

import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { isRouterBias } from '../../../core/model/routing/router-bias.ts'
import { type Begun, channels, type Ranks } from '../../../engine/contract/ranks.ts'
import { NOT_POSTED } from '../../../engine/contract/runtime.ts'
import type { ParameterStore } from '../store/store.ts'
import { SMALL } from './gradient-sum.ts'
import { RangeExchange, type RangeTransfer } from './range-exchange.ts'

export class ParameterSharing {
  /** Names of trained tensors that travel together, in the order in which programs read them. */
  readonly groups: readonly ReadonlySet<string>[]
  private readonly store: ParameterStore
  private readonly exchange: RangeExchange | null
  private begun: Begun[] = []
  /** Groups that are on their way to relays, by their index among {@link begun}. */
  private readonly outward = new Map<number, { readonly group: ReadonlySet<string>; readonly done: Promise<void> }>()

  /** @param ranks The ranks of the training; null for a process alone, which shares nothing. */
  constructor(store: ParameterStore, ranks: Ranks | null) {
    const trained = store.specs.filter(({ frozen }) => !frozen)
    this.groups = ranks ? groupsOf(trained) : [new Set(trained.map(({ name }) => name))]
    this.store = store
    this.exchange = ranks && new RangeExchange(ranks)
  }

  /**
   * Begins to send the owned parameters of a group, and to receive the others. Call it for all groups, in order, and
   * then {@link passOn}.
   */
  begin(group: ReadonlySet<string>): void {
    if (!this.exchange) return
    const toRelays = this.toRelays(group)
    if (toRelays === null) {
      this.begun.push(this.exchange.begin(channels.parameters, this.transfers(group)))
      return
    }
    const { done } = this.exchange.begin(channels.parameters, toRelays)
    // The failure is handled in `passOn`.
    done.catch(() => {})
    this.outward.set(this.begun.length, { group, done })
    this.begun.push({ ticket: NOT_POSTED, done })
  }

  /** Begins to send the groups that have relays to all ranks, when their relays have them. */
  async passOn(): Promise<void> {
    for (const [i, { group, done }] of this.outward) {
      await done
      if (this.exchange) this.begun[i] = this.exchange.begin(channels.parameters, this.transfers(group))
    }
    this.outward.clear()
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

  /** The transfers from owners to relays; null if no tensor of a group has relays, on any rank. */
  private toRelays(names: ReadonlySet<string>): RangeTransfer[] | null {
    const { rank } = this.store.layout
    const parts = this.partsOf(names).filter(({ adder, owner }) => adder !== owner)
    if (parts.length === 0) return null
    return parts.flatMap(({ range, adder, owner }): RangeTransfer[] => {
      if (owner === rank) return [{ ...range, peer: adder, direction: 'send' }]
      return adder === rank ? [{ ...range, peer: owner, direction: 'receive' }] : []
    })
  }

  /** The transfers from owners or relays to all ranks that have not got the parameters yet. */
  private transfers(names: ReadonlySet<string>): RangeTransfer[] {
    const { rank } = this.store.layout
    return this.partsOf(names).flatMap(({ range, adder, owner, holders }): RangeTransfer[] => {
      if (adder !== rank) return owner === rank ? [] : [{ ...range, peer: adder, direction: 'receive' }]
      return holders
        .filter((holder) => holder !== rank && holder !== owner)
        .map((peer) => ({ ...range, peer, direction: 'send' as const }))
    })
  }

  /** The parts of a group's tensors. Every rank computes the biases of routers itself, from the loads of all ranks. */
  private partsOf(names: ReadonlySet<string>) {
    const shares = this.store.shares.filter(({ spec: { name } }) => names.has(name) && !isRouterBias(name))
    return shares.flatMap(({ spec, parts, owner, holders }) => {
      const { arena, start: tensor } = this.store.parameter(spec.name)
      return parts.map(({ start, floats, adder }) => {
        return { range: { arena, start: tensor + start, count: floats }, adder, owner, holders }
      })
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
