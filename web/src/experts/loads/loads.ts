/**
 * Loads of snapshots as they are looked at: fetched in chunks, one at a time, the chunk that is wanted first and
 * then the one where a scrubber that keeps moving will be next. What nobody wants any more is aborted.
 */
import { ChunkCache } from './chunk-cache.ts'

const SNAPSHOTS_PER_CHUNK = 32
const MAX_BYTES = 64 * 2 ** 20

export type FetchLoads = (from: number, to: number, signal: AbortSignal) => Promise<Float32Array>

interface Events {
  readonly arrived: () => void
  readonly failed: (error: Error) => void
}

export class Loads {
  private readonly cache = new ChunkCache(MAX_BYTES)
  private readonly fetchLoads: FetchLoads
  private readonly events: Events
  /** Numbers of a snapshot. */
  private floats = 0
  private snapshots = 0
  private generation = -1
  private wanted: readonly number[] = []
  private busy: { readonly chunk: number; readonly abort: AbortController } | null = null

  constructor(fetchLoads: FetchLoads, events: Events) {
    this.fetchLoads = fetchLoads
    this.events = events
  }

  /** What the index says. Another generation, or another number of routers or experts, makes old loads worthless. */
  follow(snapshots: number, generation: number, floats: number): void {
    if (generation !== this.generation || floats !== this.floats) {
      this.cache.clear()
      this.stop()
    }
    this.snapshots = snapshots
    this.generation = generation
    this.floats = floats
  }

  /** Undefined until it arrived. */
  get(snapshot: number): Float32Array | undefined {
    const at = (snapshot % SNAPSHOTS_PER_CHUNK) * this.floats
    const chunk = this.cache.get(Math.floor(snapshot / SNAPSHOTS_PER_CHUNK))
    return chunk && chunk.length >= at + this.floats ? chunk.subarray(at, at + this.floats) : undefined
  }

  /** @param direction where the scrubber goes, 1 or -1 */
  want(snapshot: number, direction: number): void {
    const chunk = Math.floor(snapshot / SNAPSHOTS_PER_CHUNK)
    this.wanted = [chunk, chunk + direction, chunk - direction].filter(
      (each) => each >= 0 && each * SNAPSHOTS_PER_CHUNK < this.snapshots,
    )
    if (this.busy && !this.wanted.includes(this.busy.chunk)) this.stop()
    this.next()
  }

  stop(): void {
    this.busy?.abort.abort()
    this.busy = null
  }

  private next(): void {
    if (this.busy) return
    const chunk = this.wanted.find((each) => !this.whole(each))
    if (chunk === undefined) return
    const busy = { chunk, abort: new AbortController() }
    this.busy = busy
    const from = chunk * SNAPSHOTS_PER_CHUNK
    this.fetchLoads(from, Math.min(this.snapshots, from + SNAPSHOTS_PER_CHUNK), busy.abort.signal).then(
      (loads) => {
        if (this.busy !== busy) return
        this.busy = null
        this.cache.set(chunk, loads)
        // A file that was cut short answers with less than asked for; the next index will say so.
        if (!this.whole(chunk)) this.wanted = this.wanted.filter((each) => each !== chunk)
        this.events.arrived()
        this.next()
      },
      (error: Error) => {
        if (this.busy !== busy) return
        this.busy = null
        this.events.failed(error)
      },
    )
  }

  /** Of the last chunk, as far as there are snapshots. */
  private whole(chunk: number): boolean {
    const from = chunk * SNAPSHOTS_PER_CHUNK
    const there = Math.min(SNAPSHOTS_PER_CHUNK, this.snapshots - from)
    return (this.cache.get(chunk)?.length ?? 0) >= there * this.floats
  }
}
