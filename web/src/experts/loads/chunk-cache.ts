/** Chunks of loads by number. Beyond a limit of bytes, the least recently used chunks are evicted. */

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
