/** The ring of orders, as the courier sees it. Only the courier reads the ring and marks orders as done. */
import {
  BELL,
  COMMAND,
  ERROR_BYTES,
  EXIT_CODE,
  FAILED,
  HEADER_NUMBERS,
  type Order,
  type OrdersMemory,
  ordersMemory,
  READ,
  SPACE,
  TRANSFER_NUMBERS,
  type Transfer,
  WRITTEN,
} from './orders.ts'

export class Inbox {
  private readonly memory: OrdersMemory
  /** The beginning of an order whose other numbers are not in the ring yet. */
  private partial: number[] = []
  private tickets = 0

  constructor(buffer: SharedArrayBuffer) {
    this.memory = ordersMemory(buffer)
  }

  /**
   * The state of the bell. Read it before you look for new orders and commands: {@link sleep} returns at once if it has
   * changed since.
   */
  bell(): number {
    return Atomics.load(this.memory.control, BELL)
  }

  /** Sleeps until the bell is no longer the given one. */
  sleep(bell: number, milliseconds?: number): void {
    Atomics.wait(this.memory.control, BELL, bell, milliseconds)
  }

  /** The command for the courier; 0 if there is none. */
  command(): number {
    return Atomics.load(this.memory.control, COMMAND)
  }

  exitCode(): number {
    return Atomics.load(this.memory.control, EXIT_CODE)
  }

  /** The next order, in the sequence of tickets; undefined if the ring has no whole order. */
  take(): Order | undefined {
    const { control, ring } = this.memory
    const written = Atomics.load(control, WRITTEN)
    const first = Atomics.load(control, READ)
    let read = first
    let order: Order | undefined
    while (read !== written && !order) {
      this.partial.push(ring[read & (ring.length - 1)] as number)
      read = (read + 1) | 0
      order = this.complete()
    }
    if (read !== first) {
      Atomics.store(control, READ, read)
      this.announceSpace()
    }
    return order
  }

  private complete(): Order | undefined {
    const { partial } = this
    const [channel = 0, reports, transfers] = partial
    if (transfers === undefined || partial.length < HEADER_NUMBERS + transfers * TRANSFER_NUMBERS) return undefined
    this.partial = []
    return {
      ticket: this.tickets++,
      channel,
      reports: reports === 1,
      transfers: Array.from({ length: transfers }, (_, i): Transfer => {
        const at = HEADER_NUMBERS + i * TRANSFER_NUMBERS
        const [peer, sends, address, bytes] = partial.slice(at, at + TRANSFER_NUMBERS) as [
          number,
          number,
          number,
          number,
        ]
        return { peer, direction: sends === 1 ? 'send' : 'receive', address, bytes }
      }),
    }
  }

  finish(ticket: number): void {
    const { slots } = this.memory
    Atomics.add(slots, ticket % slots.length, 1)
    Atomics.notify(slots, ticket % slots.length)
    this.announceSpace()
  }

  /** Makes every thread that waits, posts or asks from now on throw an error with this text. */
  fail(text: string): void {
    const { control, slots, error } = this.memory
    const { written } = new TextEncoder().encodeInto(text, error)
    Atomics.store(control, ERROR_BYTES, written)
    for (let slot = 0; slot < slots.length; slot++) {
      Atomics.store(slots, slot, FAILED)
      Atomics.notify(slots, slot)
    }
    this.announceSpace()
  }

  private announceSpace(): void {
    Atomics.add(this.memory.control, SPACE, 1)
    Atomics.notify(this.memory.control, SPACE)
  }
}
