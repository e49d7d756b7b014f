/**
 * Loads snapshots on demand, in chunks and one chunk at a time: first the current chunk, then the next in the direction
 * of movement, then the previous. Obsolete requests are aborted.
 */
import { bisectCenter } from 'd3-array'

const SNAPSHOTS_PER_CHUNK = 32
const MAX_BYTES = 64 * 2 ** 20

export type FetchLoads = (from: number, to: number, signal: AbortSignal) => Promise<Float32Array>

interface Events {
  readonly arrived: () => void
  readonly failed: (error: Error) => void
}

export class LoadsLoader {
  private readonly cache = new ChunkCache(MAX_BYTES)
  private readonly fetchLoads: FetchLoads
  private readonly events: Events
  /** Floats per snapshot. */
  private floats = 0
  private snapshots = 0
  private generation = -1
  private queue: readonly number[] = []
  private current: { readonly chunk: number; readonly abort: AbortController } | null = null

  constructor(fetchLoads: FetchLoads, events: Events) {
    this.fetchLoads = fetchLoads
    this.events = events
  }

  /** Takes over the index. Another generation, or another number of floats, invalidates cached loads. */
  follow(snapshots: number, generation: number, floats: number): void {
    if (generation !== this.generation || floats !== this.floats) {
      this.cache.clear()
      this.stop()
    }
    this.snapshots = snapshots
    this.generation = generation
    this.floats = floats
  }

  /** Loads of a snapshot; undefined until they have arrived. */
  get(snapshot: number): Float32Array | undefined {
    const at = (snapshot % SNAPSHOTS_PER_CHUNK) * this.floats
    const chunk = this.cache.get(Math.floor(snapshot / SNAPSHOTS_PER_CHUNK))
    return chunk && chunk.length >= at + this.floats ? chunk.subarray(at, at + this.floats) : undefined
  }

  /** @param direction Direction of movement, 1 or -1 */
  request(snapshot: number, direction: number): void {
    const chunk = Math.floor(snapshot / SNAPSHOTS_PER_CHUNK)
    this.queue = [chunk, chunk + direction, chunk - direction].filter(
      (each) => each >= 0 && each * SNAPSHOTS_PER_CHUNK < this.snapshots,
    )
    if (this.current && !this.queue.includes(this.current.chunk)) this.stop()
    this.next()
  }

  stop(): void {
    this.current?.abort.abort()
    this.current = null
  }

  private next(): void {
    if (this.current) return
    const chunk = this.queue.find((each) => !this.isComplete(each))
    if (chunk === undefined) return
    const request = { chunk, abort: new AbortController() }
    this.current = request
    const from = chunk * SNAPSHOTS_PER_CHUNK
    this.fetchLoads(from, Math.min(this.snapshots, from + SNAPSHOTS_PER_CHUNK), request.abort.signal).then(
      (loads) => {
        if (this.current !== request) return
        this.current = null
        this.cache.set(chunk, loads)
        // A truncated file has fewer snapshots than requested; the next index will have the right number.
        if (!this.isComplete(chunk)) this.queue = this.queue.filter((each) => each !== chunk)
        this.events.arrived()
        this.next()
      },
      (error: Error) => {
        if (this.current !== request) return
        this.current = null
        this.events.failed(error)
      },
    )
  }

  /** Whether a chunk needs no request. The last chunk is complete once it has all snapshots so far. */
  private isComplete(chunk: number): boolean {
    const from = chunk * SNAPSHOTS_PER_CHUNK
    const expected = Math.min(SNAPSHOTS_PER_CHUNK, this.snapshots - from)
    return (this.cache.get(chunk)?.length ?? 0) >= expected * this.floats
  }
}

export class ChunkCache {
  /** A Map keeps its order of insertion: the first is the least recently used. */
  private readonly chunks = new Map<number, Float32Array>()
  private readonly maxBytes: number
  private bytes = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get(chunk: number): Float32Array | undefined {
    const found = this.chunks.get(chunk)
    if (found) {
      this.chunks.delete(chunk)
      this.chunks.set(chunk, found)
    }
    return found
  }

  /** The newest chunk always stays, even if it alone exceeds the limit. */
  set(chunk: number, loads: Float32Array): void {
    this.bytes += loads.byteLength - (this.chunks.get(chunk)?.byteLength ?? 0)
    this.chunks.delete(chunk)
    this.chunks.set(chunk, loads)
    for (const [oldest, { byteLength }] of this.chunks) {
      if (this.bytes <= this.maxBytes || oldest === chunk) return
      this.chunks.delete(oldest)
      this.bytes -= byteLength
    }
  }

  clear(): void {
    this.chunks.clear()
    this.bytes = 0
  }
}

/** Index of the snapshot nearest to a step; the last snapshot for null, -1 if there are no snapshots. */
export const snapshotAt = (steps: readonly number[], step: number | null): number =>
  step === null || steps.length === 0 ? steps.length - 1 : bisectCenter(steps, step)
