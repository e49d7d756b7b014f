/**
 * The ring of orders of a thread that runs kernels. It logs the orders that the thread posts, and its waits for them.
 */

import { OrderLog } from '../../contract/order-log.ts'
import { now } from '../../contract/recording.ts'
import type { GroupPlace } from '../../contract/runtime.ts'
import type { Transfer } from '../../world/mpi/orders.ts'
import { OrderRing } from '../../world/mpi/ring.ts'

export class LoggedRing {
  /** The stage that the thread runs, as an index in its program. */
  stage = 0
  private readonly ring: OrderRing
  private readonly log: OrderLog
  private readonly place: GroupPlace
  /** Tickets that no kernel has waited for. */
  private readonly open = new Set<number>()

  constructor(place: GroupPlace, log: SharedArrayBuffer) {
    this.ring = new OrderRing(place.orders)
    this.log = new OrderLog(log, place.size)
    this.place = place
  }

  post(channel: number, transfers: readonly Transfer[]): number {
    const posted = now()
    const ticket = this.ring.post(channel, transfers)
    this.open.add(ticket)
    const sent = new Array<number>(this.place.size).fill(0)
    for (const { peer, direction, bytes } of transfers) if (direction === 'send') sent[peer - this.place.first] = bytes
    this.log.post(ticket, this.stage, posted, sent)
    return ticket
  }

  wait(ticket: number): void {
    const begin = now()
    this.ring.wait(ticket)
    this.open.delete(ticket)
    this.log.wait(ticket, begin, now())
  }

  /**
   * Sleeps until all orders of this thread are done. Kernels may still wait for them, which then takes no time. Every
   * rank of the group has posted these orders before it can wait for an order that this rank posts later, so they end.
   */
  settle(): void {
    for (const ticket of this.open) this.ring.wait(ticket)
  }
}
