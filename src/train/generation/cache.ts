/**
 * What generating keeps of the tokens so far: keys and values of every layer, a row for each position,
 * [S, H·d]. The first rows of a table are a table: a program for fewer positions reads the same memory.
 */

import type { ModelConfig } from '../../model/config.ts'
import { cacheName } from '../../model/decode.ts'

export class KeyValueCache {
  private readonly tables = new Map<string, Float32Array>()
  private readonly width: number

  constructor({ layers, width, sequence }: ModelConfig) {
    this.width = width
    for (let layer = 0; layer < layers; layer++)
      for (const kind of ['keys', 'values'] as const)
        this.tables.set(cacheName(layer, kind), new Float32Array(sequence * width))
  }

  /** The first `length` rows of a table, by its name as a port; undefined for other ports. */
  rows(port: string, length: number): Float32Array | undefined {
    return this.tables.get(port.replace(/\.next$/, ''))?.subarray(0, length * this.width)
  }
}
