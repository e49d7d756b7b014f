/** Chunks by number, the least recently used thrown out when they take more than a bound. */

export class ChunkCache {
  /** A Map keeps its order of insertion: the first is the least recently used. */
  private readonly chunks = new Map<number, Float32Array>()
  private readonly bytes: number
  private held = 0

  constructor(bytes: number) {
    this.bytes = bytes
  }

  get(chunk: number): Float32Array | undefined {
    const found = this.chunks.get(chunk)
    if (found) {
      this.chunks.delete(chunk)
      this.chunks.set(chunk, found)
    }
    return found
  }

  /** The newest always stays, even if it alone is beyond the bound. */
  set(chunk: number, loads: Float32Array): void {
    this.held += loads.byteLength - (this.chunks.get(chunk)?.byteLength ?? 0)
    this.chunks.delete(chunk)
    this.chunks.set(chunk, loads)
    for (const [oldest, { byteLength }] of this.chunks) {
      if (this.held <= this.bytes || oldest === chunk) return
      this.chunks.delete(oldest)
      this.held -= byteLength
    }
  }

  clear(): void {
    this.chunks.clear()
    this.held = 0
  }
}
