/** Which pages of a cache are held, and by how many holders: texts, and prompts that are kept for later texts. */
export class PagePool {
  readonly count: number
  private readonly holders: Uint32Array
  /** Pages that nobody holds. */
  private readonly free: number[]

  constructor(count: number) {
    this.count = count
    this.holders = new Uint32Array(count)
    this.free = Array.from({ length: count }, (_, page) => page).reverse()
  }

  /** Number of pages that nobody holds. */
  get left(): number {
    return this.free.length
  }

  /** Takes pages that nobody holds, each for one holder. */
  take(count: number): number[] {
    if (count > this.free.length) throw new Error(`internal: ${count} pages of ${this.free.length} that are free`)
    const pages = this.free.splice(this.free.length - count, count).reverse()
    for (const page of pages) this.holders[page] = 1
    return pages
  }

  /** Adds a holder to pages that have one. */
  hold(pages: readonly number[]): void {
    for (const page of pages) this.holders[page] = this.holdersOf(page) + 1
  }

  /** Removes a holder from pages; those without one become free. */
  drop(pages: readonly number[]): void {
    for (const page of pages) {
      const left = this.holdersOf(page) - 1
      this.holders[page] = left
      if (left === 0) this.free.push(page)
    }
  }

  private holdersOf(page: number): number {
    const holders = this.holders[page] ?? 0
    if (holders === 0) throw new Error(`internal: nobody holds page ${page}`)
    return holders
  }
}
