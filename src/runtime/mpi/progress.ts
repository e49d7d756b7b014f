/**
 * Orders under way. MPI moves data only inside its own calls, so the courier calls
 * {@link Progress.poll} as long as an order is open.
 */
import { RuntimeError } from '../runtime-error.ts'
import { MessageError, type Mpi, type Request } from './adapter.ts'
import { COLLECTIVE_CHANNEL, type Order, ROSTER_CHANNEL, type Transfer } from './orders.ts'
import { formatRank, type RankIdentity } from './roster.ts'
import type { TrafficRecorder } from './traffic.ts'

interface Message {
  readonly transfer: Transfer
  readonly request: Request
}

interface OpenOrder {
  readonly order: Order
  /** Those that have not ended. */
  readonly messages: Message[]
  /** Milliseconds, as `performance.now()`. */
  readonly since: number
}

export interface ProgressOptions {
  readonly mpi: Mpi
  readonly rank: number
  readonly deadlineSeconds: number
  readonly traffic: TrafficRecorder
}

export class Progress {
  /** Empty until the ranks know each other. */
  roster: readonly RankIdentity[] = []
  private readonly options: ProgressOptions
  private open: OpenOrder[] = []

  constructor(options: ProgressOptions) {
    this.options = options
  }

  get idle(): boolean {
    return this.open.length === 0
  }

  start(order: Order): void {
    const { mpi, traffic } = this.options
    const since = performance.now()
    traffic.begin(order.channel, since)
    // Receives first, so that the data of a peer that has already sent has a place to go.
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
   * Lets MPI work once for every message.
   * @returns Orders that are done now.
   * @throws RuntimeError if a message failed or an order is older than the deadline.
   */
  poll(): Order[] {
    const done: Order[] = []
    for (const open of this.open) {
      const { order, messages } = open
      // Backwards, because a message that has ended is removed.
      for (let i = messages.length - 1; i >= 0; i--)
        if (this.ended(order, messages[i] as Message)) messages.splice(i, 1)
      if (messages.length === 0) done.push(order)
      else this.checkDeadline(open)
    }
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

  private checkDeadline({ order, messages, since }: OpenOrder): void {
    const seconds = (performance.now() - since) / 1000
    if (seconds <= this.options.deadlineSeconds) return
    const peers = [...new Set(messages.map(({ transfer }) => transfer.peer))].sort((a, b) => a - b)
    throw new RuntimeError(
      `${this.name(this.options.rank)} has waited ${seconds.toFixed(0)} s in ${nameOf(order.channel)} ` +
        `for ${peers.map((peer) => this.name(peer)).join(', ')}: look there for an error or a process that hangs`,
    )
  }

  private name(rank: number): string {
    return formatRank(rank, this.roster)
  }
}

function nameOf(channel: number): string {
  if (channel === ROSTER_CHANNEL) return 'the exchange of host names'
  return channel === COLLECTIVE_CHANNEL ? 'a barrier or gather' : `channel ${channel}`
}
