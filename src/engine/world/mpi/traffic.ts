/** The traffic of each channel, in bytes and time. The courier writes it, and any thread may read it. */
import { CHANNELS } from './orders.ts'

export interface ChannelTraffic {
  readonly channel: number
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Time in which at least one order of the channel was open; an order is open from its start by the courier on. */
  readonly seconds: number
}

const SENT = 0
const RECEIVED = 1
const MILLISECONDS = 2
const FIELDS = 3

export const createTraffic = (): SharedArrayBuffer => new SharedArrayBuffer(CHANNELS * FIELDS * 8)

/** The traffic of the channels that were used. It is exact for orders whose end the reader knows. */
export function readTraffic(buffer: SharedArrayBuffer): ChannelTraffic[] {
  const fields = new Float64Array(buffer)
  const of = (channel: number, field: number): number => fields[channel * FIELDS + field] as number
  return Array.from({ length: CHANNELS }, (_, channel) => ({
    channel,
    sentBytes: of(channel, SENT),
    receivedBytes: of(channel, RECEIVED),
    seconds: of(channel, MILLISECONDS) / 1000,
  })).filter(({ sentBytes, receivedBytes, seconds }) => sentBytes > 0 || receivedBytes > 0 || seconds > 0)
}

export class TrafficRecorder {
  private readonly fields: Float64Array
  private readonly open = new Map<number, { orders: number; since: number }>()

  constructor(buffer: SharedArrayBuffer) {
    this.fields = new Float64Array(buffer)
  }

  /** Counts one more open order. @param now Time in milliseconds. */
  begin(channel: number, now: number): void {
    const open = this.open.get(channel)
    if (open) open.orders++
    else this.open.set(channel, { orders: 1, since: now })
  }

  add(channel: number, direction: 'send' | 'receive', bytes: number): void {
    this.increase(channel, direction === 'send' ? SENT : RECEIVED, bytes)
  }

  end(channel: number, now: number): void {
    const open = this.open.get(channel)
    if (!open || --open.orders > 0) return
    this.increase(channel, MILLISECONDS, now - open.since)
    this.open.delete(channel)
  }

  private increase(channel: number, field: number, amount: number): void {
    this.fields[channel * FIELDS + field] = (this.fields[channel * FIELDS + field] as number) + amount
  }
}
