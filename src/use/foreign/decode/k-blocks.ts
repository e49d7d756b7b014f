/**
 * K-quants: blocks of 256 numbers with scales in binary16, and in them 16 groups of 16 numbers (Q2_K, Q3_K, Q6_K), or 8
 * groups of 32 (Q4_K, Q5_K), whose own scales are integers of few bits (ggml, `block_q2_K` to `block_q6_K` in
 * ggml-common.h, and `dequantize_row_*` in ggml-quants.c). A number is d·s·q, or d·s·q − dmin·m in the types whose groups
 * have a minimum m.
 *
 * The bits of the numbers are stored in planes: byte l of 32 bytes has the bits of the numbers l, 32 + l, 64 + l and so
 * on, from its lowest bits to its highest.
 */
import type { Decoder } from './contract.ts'
import { halvesIn } from './floats.ts'

const BLOCK = 256
/** Numbers that share the bytes of a plane of two bits. */
const PLANE = 128

/** 16 bytes with a scale (low half) and a minimum (high half) each, 64 bytes with q of two bits, d, dmin. */
export const Q2_K: Decoder = {
  block: BLOCK,
  bytes: 84,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 84) {
      const d = half(at + 80)
      const dmin = half(at + 82)
      for (let group = 0; group < 16; group++) {
        const packed = data[at + group] as number
        const scale = Math.fround(d * (packed & 15))
        const minimum = Math.fround(dmin * (packed >> 4))
        const from = i + 16 * group
        const q = at + 16 + planeByte(group)
        const shift = planeShift(group)
        for (let j = 0; j < 16; j++)
          values[from + j] = Math.fround(scale * (((data[q + j] as number) >> shift) & 3)) - minimum
      }
    }
  },
}

/**
 * 32 bytes with the third bits, 64 bytes with the low two bits, 12 bytes with 16 scales of six bits, d. A scale is less
 * 32. A number is less 4 if its third bit is not set.
 */
export const Q3_K: Decoder = {
  block: BLOCK,
  bytes: 110,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 110) {
      const d = half(at + 108)
      for (let group = 0; group < 16; group++) {
        const scale = Math.fround(d * (scaleOfQ3(data, at + 96, group) - 32))
        const from = i + 16 * group
        const q = at + 32 + planeByte(group)
        const shift = planeShift(group)
        const third = at + 16 * (group & 1)
        const bit = group >> 1
        for (let j = 0; j < 16; j++) {
          const low = ((data[q + j] as number) >> shift) & 3
          values[from + j] = scale * (low + ((((data[third + j] as number) >> bit) & 1) << 2) - 4)
        }
      }
    }
  },
}

/** d, dmin, 12 bytes with 8 scales and 8 minima of six bits, 128 bytes with q of four bits. */
export const Q4_K: Decoder = {
  block: BLOCK,
  bytes: 144,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 144) {
      const d = half(at)
      const dmin = half(at + 2)
      for (let group = 0; group < 8; group++) {
        const scale = Math.fround(d * scaleOf(data, at + 4, group))
        const minimum = Math.fround(dmin * minimumOf(data, at + 4, group))
        const from = i + 32 * group
        const q = at + 16 + 32 * (group >> 1)
        const shift = 4 * (group & 1)
        for (let j = 0; j < 32; j++)
          values[from + j] = Math.fround(scale * (((data[q + j] as number) >> shift) & 15)) - minimum
      }
    }
  },
}

/** As Q4_K, with 32 bytes of fifth bits before the 128 bytes: bit g of byte j is that of number j of group g. */
export const Q5_K: Decoder = {
  block: BLOCK,
  bytes: 176,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 176) {
      const d = half(at)
      const dmin = half(at + 2)
      for (let group = 0; group < 8; group++) {
        const scale = Math.fround(d * scaleOf(data, at + 4, group))
        const minimum = Math.fround(dmin * minimumOf(data, at + 4, group))
        const from = i + 32 * group
        const fifth = at + 16
        const q = at + 48 + 32 * (group >> 1)
        const shift = 4 * (group & 1)
        for (let j = 0; j < 32; j++) {
          const low = ((data[q + j] as number) >> shift) & 15
          const number = low | ((((data[fifth + j] as number) >> group) & 1) << 4)
          values[from + j] = Math.fround(scale * number) - minimum
        }
      }
    }
  },
}

/** 128 bytes with the low four bits, 64 bytes with the high two bits, 16 signed bytes of scales, d. A number is less 32. */
export const Q6_K: Decoder = {
  block: BLOCK,
  bytes: 210,
  decode(bytes, values) {
    const data = new Uint8Array(bytes)
    const signed = new Int8Array(bytes)
    const half = halvesIn(data)
    for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 210) {
      const d = half(at + 208)
      for (let group = 0; group < 16; group++) {
        const scale = Math.fround(d * (signed[at + 192 + group] as number))
        const from = i + 16 * group
        // Of each half of the block, 64 bytes have the first 64 numbers in their low halves, and the next in the high ones.
        const low = at + 64 * (group >> 3) + 16 * (group & 3)
        const lowShift = group & 4
        const high = at + 128 + planeByte(group)
        const highShift = planeShift(group)
        for (let j = 0; j < 16; j++) {
          const number =
            (((data[low + j] as number) >> lowShift) & 15) | ((((data[high + j] as number) >> highShift) & 3) << 4)
          values[from + j] = scale * (number - 32)
        }
      }
    }
  },
}

/** Where the bytes of a group of 16 numbers begin in planes of two bits: 32 bytes for every 128 numbers. */
const planeByte = (group: number): number => (PLANE / 4) * (group >> 3) + 16 * (group & 1)

const planeShift = (group: number): number => 2 * ((group >> 1) & 3)

/** A scale of Q3_K: four bits of the first 8 bytes, and two bits of the last 4. */
function scaleOfQ3(data: Uint8Array, at: number, group: number): number {
  const low = ((data[at + (group & 7)] as number) >> (group < 8 ? 0 : 4)) & 15
  return low | ((((data[at + 8 + (group & 3)] as number) >> (2 * (group >> 2))) & 3) << 4)
}

/**
 * A scale of Q4_K and Q5_K (`get_scale_min_k4`). The scales of the groups 0 to 3 are the low six bits of the bytes 0 to 3,
 * and their minima those of the bytes 4 to 7. Bytes 8 to 11 have the low four bits of the other scales, and of the other
 * minima in their high halves; the high two bits of the first 8 bytes complete them.
 */
function scaleOf(data: Uint8Array, at: number, group: number): number {
  if (group < 4) return (data[at + group] as number) & 63
  return ((data[at + group + 4] as number) & 15) | (((data[at + group - 4] as number) >> 6) << 4)
}

/** A minimum of Q4_K and Q5_K: see {@link scaleOf}. */
function minimumOf(data: Uint8Array, at: number, group: number): number {
  if (group < 4) return (data[at + group + 4] as number) & 63
  return ((data[at + group + 4] as number) >> 4) | (((data[at + group] as number) >> 6) << 4)
}
