/**
 * Keys and values of the tokens so far: two tables per layer, with one row per position, [S, H·d]. A
 * program for fewer positions reads the first rows of the same memory.
 */
import type { ModelConfig } from '../../model/config.ts'
import { cacheName } from '../../model/decode.ts'

export class KeyValueCache {
  private readonly tables = new Map<string, Float32Array>()
  private readonly width: number

  /** @param allocate Allocates the tables; default: ordinary arrays. */
  constructor(
    { layers, width, sequence }: ModelConfig,
    allocate = (floats: number): Float32Array => new Float32Array(floats),
  ) {
    this.width = width
    for (let layer = 0; layer < layers; layer++)
      for (const kind of ['keys', 'values'] as const)
        this.tables.set(cacheName(layer, kind), allocate(sequence * width))
  }

  /** The first `length` rows of the table of a port; undefined for other ports. */
  rows(port: string, length: number): Float32Array | undefined {
    return this.tables.get(port.replace(/\.next$/, ''))?.subarray(0, length * this.width)
  }
}
