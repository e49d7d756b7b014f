/** Progress of long works on the text, such as passes over it, which take minutes for a large one. */
import type { Piece } from '../sources/piece.ts'

/** Milliseconds between reports in the beginning. */
const INTERVAL_MS = 1000

/** Minimum time between reports as a share of the time elapsed, so that the log of a long work stays short. */
const INTERVAL_SHARE = 0.2

/** Times at which a long work reports: each second in the beginning, less often later. */
export class Pace {
  private readonly startedAt = performance.now()
  private reportedAt = this.startedAt

  /** Milliseconds since the beginning of the work if a report is due, which the caller then makes; undefined if not. */
  due(): number | undefined {
    const now = performance.now()
    const elapsed = now - this.startedAt
    if (now - this.reportedAt < Math.max(INTERVAL_MS, INTERVAL_SHARE * elapsed)) return undefined
    this.reportedAt = now
    return elapsed
  }
}

/** Reports how much of the text a pass has done. */
export class Progress {
  private readonly what: string
  private readonly total: number | undefined
  private readonly onProgress: (message: string) => void
  private readonly unit: string
  private readonly pace = new Pace()
  private done = 0

  /**
   * @param what What the pass does, such as `tokenizing`.
   * @param total Number of units in the text, if known.
   * @param unit What is counted.
   */
  constructor(
    what: string,
    total: number | undefined,
    onProgress: (message: string) => void,
    unit: 'characters' | 'bytes' | 'tokens' = 'characters',
  ) {
    this.what = what
    this.total = total
    this.onProgress = onProgress
    this.unit = unit
  }

  /** @param units Number of units done since the last call. */
  add(units: number): void {
    this.done += units
    const elapsed = this.pace.due()
    if (elapsed === undefined) return
    const of = this.total === undefined ? '' : ` of ${millions(this.total)}`
    const rate = (this.done / elapsed / 1000).toFixed(1)
    this.onProgress(`${this.what}: ${millions(this.done)}${of} million ${this.unit}, ${rate} million per second`)
  }
}

/** Yields the pieces unchanged and reports their progress. */
export async function* counted(pieces: AsyncIterable<Piece>, progress: Progress): AsyncGenerator<Piece> {
  for await (const piece of pieces) {
    progress.add(piece.text.length)
    yield piece
  }
}

const millions = (units: number): string => (units / 1e6).toFixed(1)
