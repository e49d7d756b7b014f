/** Progress of passes over the text, which take minutes for a large one. */
import type { Piece } from './sources/piece.ts'

/** Milliseconds between reports in the beginning. */
const INTERVAL_MS = 1000

/** Minimum time between reports as a share of the time elapsed, so that the log of a long pass stays short. */
const INTERVAL_SHARE = 0.2

/** Reports the characters that a pass has done: each second in the beginning, less often later. */
export class Progress {
  private readonly what: string
  private readonly total: number | undefined
  private readonly onProgress: (message: string) => void
  private readonly startedAt = performance.now()
  private reportedAt = this.startedAt
  private done = 0

  /**
   * @param what What the pass does, such as `tokenizing`.
   * @param total Number of characters of the text, if known.
   */
  constructor(what: string, total: number | undefined, onProgress: (message: string) => void) {
    this.what = what
    this.total = total
    this.onProgress = onProgress
  }

  add(characters: number): void {
    this.done += characters
    const now = performance.now()
    const elapsed = now - this.startedAt
    if (now - this.reportedAt < Math.max(INTERVAL_MS, INTERVAL_SHARE * elapsed)) return
    this.reportedAt = now
    const of = this.total === undefined ? '' : ` of ${millions(this.total)}`
    const rate = (this.done / elapsed / 1000).toFixed(1)
    this.onProgress(`${this.what}: ${millions(this.done)}${of} million characters, ${rate} million per second`)
  }
}

/** Yields the pieces unchanged and reports their progress. */
export async function* counted(pieces: AsyncIterable<Piece>, progress: Progress): AsyncGenerator<Piece> {
  for await (const piece of pieces) {
    progress.add(piece.text.length)
    yield piece
  }
}

const millions = (characters: number): string => (characters / 1e6).toFixed(1)
