/**
 * Four bits that select one of 16 unequally spaced numbers (ggml, `kvalues_iq4nl`, `block_iq4_nl` and `block_iq4_xs` in
 * ggml-common.h, and `dequantize_row_iq4_*` in ggml-quants.c): d times the number. The low halves of 16 bytes are the
 * numbers 0 to 15, and the high halves the numbers 16 to 31.
 */
import type { Decoder } from './contract.ts'
import { halvesIn } from './floats.ts'

const numbers = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)

/** d, then 16 bytes. */
export const IQ4_NL: Decoder = {
  block: 32,
  bytes: 18,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += 32, at += 18) decode32(half(at), data, at + 2, values, i)
  },
}

/** d, 16 bits with the high two bits of 8 scales, 4 bytes with their low four bits, 128 bytes. A scale is less 32. */
export const IQ4_XS: Decoder = {
  block: 256,
  bytes: 136,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += 256, at += 136) {
      const d = half(at)
      const highs = (data[at + 2] as number) | ((data[at + 3] as number) << 8)
      for (let group = 0; group < 8; group++) {
        const low = ((data[at + 4 + (group >> 1)] as number) >> (4 * (group & 1))) & 15
        const scale = Math.fround(d * ((low | (((highs >> (2 * group)) & 3) << 4)) - 32))
        decode32(scale, data, at + 8 + 16 * group, values, i + 32 * group)
      }
    }
  },
}

function decode32(scale: number, data: Uint8Array, from: number, values: Float32Array, to: number): void {
  for (let j = 0; j < 16; j++) {
    const pair = data[from + j] as number
    values[to + j] = scale * (numbers[pair & 15] as number)
    values[to + j + 16] = scale * (numbers[pair >> 4] as number)
  }
}
