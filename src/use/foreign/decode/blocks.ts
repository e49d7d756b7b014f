/**
 * Blocks of 32 numbers with a scale d in binary16 (ggml, `block_q4_0` to `block_q8_0` in ggml-common.h, and
 * `dequantize_row_*` in ggml-quants.c). A number is d·(q − half of the range), or d·q + m in the types that have a minimum
 * m. The low halves of 16 bytes are the numbers 0 to 15, and the high halves the numbers 16 to 31; bit i of 32 more bits
 * is the fifth bit of number i.
 */
import type { Decoder } from './contract.ts'
import { halvesIn } from './floats.ts'

const BLOCK = 32
const HALF = BLOCK / 2

/** d, then 32 signed bytes. */
export const Q8_0: Decoder = {
  block: BLOCK,
  bytes: 34,
  decode(bytes, values) {
    const half = halvesIn(new Uint8Array(bytes))
    const signed = new Int8Array(bytes)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 34) {
      const d = half(at)
      for (let j = 0; j < BLOCK; j++) values[i + j] = d * (signed[at + 2 + j] as number)
    }
  },
}

/** d, then 16 bytes: d·(q − 8). */
export const Q4_0: Decoder = {
  block: BLOCK,
  bytes: 18,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 18) {
      const d = half(at)
      for (let j = 0; j < HALF; j++) {
        const pair = data[at + 2 + j] as number
        values[i + j] = d * ((pair & 15) - 8)
        values[i + j + HALF] = d * ((pair >> 4) - 8)
      }
    }
  },
}

/** d, m, then 16 bytes: d·q + m. */
export const Q4_1: Decoder = {
  block: BLOCK,
  bytes: 20,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 20) {
      const d = half(at)
      const m = half(at + 2)
      for (let j = 0; j < HALF; j++) {
        const pair = data[at + 4 + j] as number
        values[i + j] = Math.fround(d * (pair & 15)) + m
        values[i + j + HALF] = Math.fround(d * (pair >> 4)) + m
      }
    }
  },
}

/** d, 32 fifth bits, then 16 bytes: d·(q − 16). */
export const Q5_0: Decoder = {
  block: BLOCK,
  bytes: 22,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 22) {
      const d = half(at)
      const fifths = bits32(data, at + 2)
      for (let j = 0; j < HALF; j++) {
        const pair = data[at + 6 + j] as number
        values[i + j] = d * (((pair & 15) | (((fifths >>> j) & 1) << 4)) - 16)
        values[i + j + HALF] = d * (((pair >> 4) | (((fifths >>> (j + HALF)) & 1) << 4)) - 16)
      }
    }
  },
}

/** d, m, 32 fifth bits, then 16 bytes: d·q + m. */
export const Q5_1: Decoder = {
  block: BLOCK,
  bytes: 24,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 24) {
      const d = half(at)
      const m = half(at + 2)
      const fifths = bits32(data, at + 4)
      for (let j = 0; j < HALF; j++) {
        const pair = data[at + 8 + j] as number
        values[i + j] = Math.fround(d * ((pair & 15) | (((fifths >>> j) & 1) << 4))) + m
        values[i + j + HALF] = Math.fround(d * ((pair >> 4) | (((fifths >>> (j + HALF)) & 1) << 4))) + m
      }
    }
  },
}

const bits32 = (data: Uint8Array, at: number): number =>
  (data[at] as number) |
  ((data[at + 1] as number) << 8) |
  ((data[at + 2] as number) << 16) |
  ((data[at + 3] as number) << 24)
