/**
 * The ring of orders, as a thread that posts them sees it: it posts an order, goes on computing, and waits for the
 * ticket before it reads the results. Any thread may post; posters take turns. An order that does not fit is passed in
 * pieces.
 */
import { RuntimeError } from '../../contract/runtime-error.ts'
import {
  BELL,
  CHANNELS,
  COMMAND,
  COMMAND_ABORT,
  COMMAND_CLOSE,
  EXIT_CODE,
  FAILED,
  failureOf,
  LOCK,
  type OrdersMemory,
  ordersMemory,
  READ,
  SPACE,
  type Transfer,
  WRITTEN,
} from './orders.ts'

const FREE = 0
const TAKEN = 1

export class OrderRing {
  private readonly memory: OrdersMemory

  /** @param buffer `Ranks.orders` of this process. */
  constructor(buffer: SharedArrayBuffer) {
    this.memory = ordersMemory(buffer)
  }

  /**
   * Orders transfers, and sleeps while the ring is full.
   * @param channel The channel. Both sides of a transfer use the same channel, and post its orders in the same
   * sequence.
   * @param reports Whether the courier also sends a message, when the order is done, to the thread that started it.
   * @returns The ticket, greater than all tickets before.
   * @throws RuntimeError with the error of the courier if it has failed.
   */
  post(channel: number, transfers: readonly Transfer[], reports = false): number {
    if (!(Number.isInteger(channel) && channel >= 0 && channel < CHANNELS))
      throw new RuntimeError(`internal: invalid channel ${channel} (expected an integer below ${CHANNELS})`)
    const numbers = [channel, Number(reports), 0]
    for (const { peer, direction, address, bytes } of transfers)
      if (bytes > 0) numbers.push(peer, Number(direction === 'send'), address, bytes)
    numbers[2] = (numbers.length - 3) / 4
    this.lock()
    try {
      const ticket = this.memory.nextTicket[0] as number
      this.waitForSlot(ticket)
      this.memory.nextTicket[0] = ticket + 1
      this.write(numbers)
      return ticket
    } finally {
      this.unlock()
    }
  }

  /**
   * Sleeps until the order is done. The main thread cannot call it.
   * @throws RuntimeError with the error of the courier.
   */
  wait(ticket: number): void {
    const { slots } = this.memory
    for (;;) {
      const done = this.doneOf(ticket)
      if (done > this.round(ticket)) return
      Atomics.wait(slots, ticket % slots.length, done)
    }
  }

  /** Whether the order is done. @throws RuntimeError with the error of the courier. */
  isDone(ticket: number): boolean {
    return this.doneOf(ticket) > this.round(ticket)
  }

  /** Makes the courier finalize MPI once no order is open. */
  close(): void {
    this.command(COMMAND_CLOSE)
  }

  /** Makes the courier end all ranks, also after a failure. */
  abort(exitCode: number): void {
    Atomics.store(this.memory.control, EXIT_CODE, exitCode)
    this.command(COMMAND_ABORT)
  }

  private command(command: number): void {
    Atomics.store(this.memory.control, COMMAND, command)
    this.wake()
  }

  private round(ticket: number): number {
    return Math.floor(ticket / this.memory.slots.length)
  }

  /** Number of orders of the ticket's slot that are done. */
  private doneOf(ticket: number): number {
    const { slots } = this.memory
    const done = Atomics.load(slots, ticket % slots.length)
    if (done === FAILED) throw new RuntimeError(failureOf(this.memory))
    return done
  }

  private waitForSlot(ticket: number): void {
    const { control } = this.memory
    for (;;) {
      const seen = Atomics.load(control, SPACE)
      if (this.doneOf(ticket) === this.round(ticket)) return
      Atomics.wait(control, SPACE, seen)
    }
  }

  private write(numbers: readonly number[]): void {
    const { control, ring } = this.memory
    let written = Atomics.load(control, WRITTEN)
    const publish = () => {
      Atomics.store(control, WRITTEN, written)
      this.wake()
    }
    for (const number of numbers) {
      for (;;) {
        const seen = Atomics.load(control, SPACE)
        if (((written - Atomics.load(control, READ)) | 0) < ring.length) break
        publish()
        this.doneOf(0) // throws after a failure, when nobody reads any more
        Atomics.wait(control, SPACE, seen)
      }
      ring[written & (ring.length - 1)] = number
      written = (written + 1) | 0
    }
    publish()
  }

  private wake(): void {
    Atomics.add(this.memory.control, BELL, 1)
    Atomics.notify(this.memory.control, BELL)
  }

  private lock(): void {
    const { control } = this.memory
    while (Atomics.compareExchange(control, LOCK, FREE, TAKEN) !== FREE) Atomics.wait(control, LOCK, TAKEN)
  }

  private unlock(): void {
    Atomics.store(this.memory.control, LOCK, FREE)
    Atomics.notify(this.memory.control, LOCK, 1)
  }
}
