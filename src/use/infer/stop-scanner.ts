/**
 * Ends a text before one of several stop texts: before the stop that is complete first, or the longest one if several
 * are complete at once. A stop may lie across pieces, so text is held back from the place where a stop may have begun.
 */
export class StopScanner {
  private readonly stops: readonly string[]
  private held = ''
  private found = false

  /** @param stops Stop texts, none of which is empty. */
  constructor(stops: readonly string[]) {
    this.stops = stops
  }

  /** Whether a stop has come; there is no text after it. */
  get isStopped(): boolean {
    return this.found
  }

  /** Adds a piece of the text. Returns the text that cannot belong to a stop any more. */
  push(piece: string): string {
    const text = this.held + piece
    const [first] = this.stops
      .map((stop) => ({ from: text.indexOf(stop), length: stop.length }))
      .filter(({ from }) => from >= 0)
      .toSorted((a, b) => a.from + a.length - (b.from + b.length) || a.from - b.from)
    this.found = first !== undefined
    const end = first ? first.from : text.length - this.undecided(text)
    this.held = this.found ? '' : text.slice(end)
    return text.slice(0, end)
  }

  /** Ends the text. Returns the text that was held back. */
  end(): string {
    return this.held
  }

  /** Length of the longest end of the text with which a stop begins. */
  private undecided(text: string): number {
    const longest = Math.max(0, ...this.stops.map((stop) => stop.length - 1))
    for (let length = Math.min(longest, text.length); length > 0; length--)
      if (this.stops.some((stop) => stop.startsWith(text.slice(-length)))) return length
    return 0
  }
}
