/** Runs pieces of work, a few at a time, in the order in which they come. */
export class Limiter {
  private free: number
  private readonly waiting: (() => void)[] = []

  /** @param most Number of pieces that run at the same time. */
  constructor(most: number) {
    this.free = most
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.free === 0) await new Promise<void>((resolve) => this.waiting.push(resolve))
    else this.free--
    try {
      return await work()
    } finally {
      const next = this.waiting.shift()
      if (next) next()
      else this.free++
    }
  }
}
