/**
 * The progress of open orders. MPI moves data only inside its own calls, so the courier calls
 * {@link Progress.poll} as long as an order is open.
 */

import { type RankIdentity, rankName } from '../../../core/text/rank-name.ts'
import { channels } from '../../contract/ranks.ts'
import { RuntimeError } from '../../contract/runtime-error.ts'
import { MessageError, type Mpi, type Request } from './adapter.ts'
import { Inquiry, suspectsOf } from './inquiry.ts'
import { COLLECTIVE_CHANNEL, type Order, ROSTER_CHANNEL, type Transfer } from './orders.ts'
import type { TrafficRecorder } from './traffic.ts'

interface Message {
  readonly transfer: Transfer
  readonly request: Request
}

interface OpenOrder {
  readonly order: Order
  /** Messages that have not ended. */
  readonly messages: Message[]
  /** Start of the order in milliseconds, by `performance.now()`. */
  readonly since: number
}

/** Time between answers to other ranks. */
const REPLY_MS = 50

export interface ProgressOptions {
  readonly mpi: Mpi
  readonly rank: number
  readonly size: number
  readonly deadlineSeconds: number
  readonly traffic: TrafficRecorder
}

export class Progress {
  /** Host and process of each rank; empty until the ranks know each other. */
  roster: readonly RankIdentity[] = []
  private readonly options: ProgressOptions
  private open: OpenOrder[] = []
  private readonly inquiry: Inquiry
  private repliedAt = 0
  /** The order that has exceeded the deadline, while the other ranks are asked. */
  private overdue: { readonly channel: number; readonly seconds: number; readonly peers: readonly number[] } | undefined

  constructor(options: ProgressOptions) {
    this.options = options
    this.inquiry = new Inquiry(options.mpi, options.rank, options.size)
  }

  get idle(): boolean {
    return this.open.length === 0
  }

  start(order: Order): void {
    const { mpi, traffic } = this.options
    const since = performance.now()
    traffic.begin(order.channel, since)
    // Receives start first, so that the data of a peer that has already sent has a place to go.
    const receives = order.transfers.filter(({ direction }) => direction === 'receive')
    const sends = order.transfers.filter(({ direction }) => direction === 'send')
    const messages = [...receives, ...sends].map((transfer) => {
      const { peer, direction, address, bytes } = transfer
      const request =
        direction === 'send'
          ? mpi.isend(address, bytes, peer, order.channel)
          : mpi.irecv(address, bytes, peer, order.channel)
      return { transfer, request }
    })
    this.open.push({ order, messages, since })
  }

  /**
   * Lets MPI work once for every message, and answers other ranks.
   * @returns Orders that are done now.
   * @throws RuntimeError if a message failed or an order is older than the deadline.
   */
  poll(): Order[] {
    const done: Order[] = []
    this.reply()
    for (const open of this.open) {
      const { order, messages } = open
      // The loop goes backwards, because it removes messages that have ended.
      for (let i = messages.length - 1; i >= 0; i--)
        if (this.ended(order, messages[i] as Message)) messages.splice(i, 1)
      if (messages.length === 0) done.push(order)
      else this.checkDeadline(open)
    }
    if (this.overdue) this.findSuspects(this.overdue)
    if (done.length === 0) return done
    this.open = this.open.filter(({ messages }) => messages.length > 0)
    const now = performance.now()
    for (const { channel } of done) this.options.traffic.end(channel, now)
    return done
  }

  private ended({ channel }: Order, { transfer, request }: Message): boolean {
    const { mpi, traffic } = this.options
    try {
      if (!mpi.test(request)) return false
    } catch (error) {
      if (!(error instanceof MessageError)) throw error
      if (error.truncated) throw this.mismatch(transfer, channel, `more than the ${transfer.bytes} bytes`)
      throw new RuntimeError(`${this.describe(transfer, channel)} failed: ${error.message}`)
    }
    if (transfer.direction === 'receive') {
      const received = mpi.receivedBytes()
      if (received !== transfer.bytes)
        throw this.mismatch(transfer, channel, `${received} bytes instead of the ${transfer.bytes}`)
    }
    traffic.add(channel, transfer.direction, transfer.bytes)
    return true
  }

  private mismatch({ peer }: Transfer, channel: number, sent: string): RuntimeError {
    return new RuntimeError(
      `${this.name(peer)} sent ${sent} that ${this.name(this.options.rank)} expects in ${nameOf(channel)}: ` +
        'the ranks run different programs or configurations',
    )
  }

  private describe({ direction, peer, bytes }: Transfer, channel: number): string {
    const own = this.name(this.options.rank)
    const [from, to] = direction === 'send' ? [own, this.name(peer)] : [this.name(peer), own]
    return `sending ${bytes} bytes from ${from} to ${to} in ${nameOf(channel)}`
  }

  /**
   * Answers other ranks that ask which ranks this rank waits for. Call it after a failure too, when nothing is polled.
   */
  reply(): void {
    const now = performance.now()
    if (now - this.repliedAt < REPLY_MS) return
    this.repliedAt = now
    this.inquiry.reply(this.waits())
  }

  /** The ranks that open orders wait for. */
  private waits(): number[] {
    return peersOf(this.open.flatMap(({ messages }) => messages))
  }

  private checkDeadline({ order: { channel }, messages, since }: OpenOrder): void {
    const seconds = (performance.now() - since) / 1000
    if (seconds <= this.options.deadlineSeconds || this.overdue) return
    this.overdue = { channel, seconds, peers: peersOf(messages) }
    this.inquiry.ask()
  }

  /** @throws RuntimeError when the other ranks have answered */
  private findSuspects({ channel, seconds, peers }: NonNullable<typeof this.overdue>): void {
    const { rank } = this.options
    const waits = this.inquiry.result(this.waits())
    if (!waits) return
    const { ranks, answered } = suspectsOf(rank, waits)
    const [it, many] = ranks.length > 1 ? ['they', true] : ['it', false]
    const known = answered
      ? `${it} answer${many ? '' : 's'}, but take${many ? '' : 's'} no part`
      : `no answer from there`
    throw new RuntimeError(
      `${this.name(rank)} has waited ${seconds.toFixed(0)} s in ${nameOf(channel)} ` +
        `for ${(ranks.length > 0 ? ranks : peers).map((peer) => this.name(peer)).join(', ')}: ` +
        `${ranks.length > 0 ? `${known}; ` : ''}look there for an error or a process that hangs`,
    )
  }

  private name(rank: number): string {
    return rankName({ rank, ...this.roster[rank] })
  }
}

const peersOf = (messages: readonly Message[]): number[] =>
  [...new Set(messages.map(({ transfer }) => transfer.peer))].sort((a, b) => a - b)

function nameOf(channel: number): string {
  if (channel === ROSTER_CHANNEL) return 'the exchange of host names'
  if (channel === COLLECTIVE_CHANNEL) return 'a barrier or gather'
  const [name] = Object.entries(channels).find(([, number]) => number === channel) ?? []
  return name === undefined ? `channel ${channel}` : `the exchange of ${name}`
}
