/**
 * The log of the orders (exchanges with other ranks) that the threads of a process post for the rows of experts, and of
 * how long they wait for them. Orders of two ranks that run the same program match by their number, so their times show
 * which rank waits for which.
 *
 *     Int32    number of orders since the last clear
 *     Float64  for each order: ticket, stage, posted, begin and end of the wait, bytes sent to each rank of the group
 */

/** Times in milliseconds since the epoch, with fractions; comparable between threads. */
export interface LoggedOrder {
  /** Index of the stage, in its program, that posted the order. */
  readonly stage: number
  readonly posted: number
  /** Begin and end of the wait for the order; both are 0 before the wait is over. */
  readonly begin: number
  readonly end: number
  /** Bytes sent to each rank of the group; 0 to this rank itself. */
  readonly sentBytes: readonly number[]
}

/**
 * Number of orders that are logged, enough for about 1600 routed modules in a step, over all passes. Later orders are
 * not logged.
 */
const CAPACITY = 8192
const HEADER_BYTES = 8
const [TICKET, STAGE, POSTED, BEGIN, END, SENT] = [0, 1, 2, 3, 4, 5] as const

const entryNumbers = (ranks: number): number => SENT + ranks

/** The memory of an empty log. @param ranks Number of ranks in the group. */
export const createOrderLog = (ranks: number): SharedArrayBuffer =>
  new SharedArrayBuffer(HEADER_BYTES + 8 * CAPACITY * entryNumbers(ranks))

export class OrderLog {
  private readonly count: Int32Array
  private readonly entries: Float64Array
  private readonly ranks: number

  /** @param buffer Memory from {@link createOrderLog}, shared by all threads. */
  constructor(buffer: SharedArrayBuffer, ranks: number) {
    this.count = new Int32Array(buffer, 0, 1)
    this.entries = new Float64Array(buffer, HEADER_BYTES)
    this.ranks = ranks
  }

  /** Forgets all orders; call it while no program runs. */
  clear(): void {
    Atomics.store(this.count, 0, 0)
  }

  post(ticket: number, stage: number, posted: number, sentBytes: readonly number[]): void {
    const index = Atomics.add(this.count, 0, 1)
    if (index < CAPACITY) this.entries.set([ticket, stage, posted, 0, 0, ...sentBytes], this.start(index))
  }

  wait(ticket: number, begin: number, end: number): void {
    // The order is among the last, so the search begins at the end.
    for (let index = this.length - 1; index >= 0; index--) {
      const start = this.start(index)
      if (this.entries[start + TICKET] !== ticket) continue
      this.entries[start + BEGIN] = begin
      this.entries[start + END] = end
      return
    }
  }

  /** The orders in the sequence in which they were posted; call it while no program runs. */
  read(): LoggedOrder[] {
    return Array.from({ length: this.length }, (_, index) => {
      const entry = this.entries.subarray(this.start(index), this.start(index + 1))
      const of = (field: number): number => entry[field] as number
      return {
        stage: of(STAGE),
        posted: of(POSTED),
        begin: of(BEGIN),
        end: of(END),
        sentBytes: [...entry.subarray(SENT)],
      }
    })
  }

  private get length(): number {
    return Math.min(Atomics.load(this.count, 0), CAPACITY)
  }

  private start(index: number): number {
    return index * entryNumbers(this.ranks)
  }
}
