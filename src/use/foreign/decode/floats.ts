/** F32, BF16 (the upper half of a float32) and F16 (IEEE 754 binary16). */
import { widenBfloat16 } from '../../../core/bfloat16.ts'
import { halfTable, widenFloat16 } from '../../../core/float16.ts'
import type { Decoder } from './contract.ts'

export const F32: Decoder = {
  block: 1,
  bytes: 4,
  decode: (bytes, values) => values.set(new Float32Array(bytes, 0, values.length)),
}

export const BF16: Decoder = {
  block: 1,
  bytes: 2,
  decode: (bytes, values) => widenBfloat16(new Uint16Array(bytes, 0, values.length), values),
}

export const F16: Decoder = {
  block: 1,
  bytes: 2,
  decode: (bytes, values) => widenFloat16(new Uint16Array(bytes, 0, values.length), values),
}

/** Returns a reader of the binary16 number, little-endian, at a byte. */
export function halvesIn(data: Uint8Array): (at: number) => number {
  const table = halfTable()
  return (at) => table[(data[at] as number) | ((data[at + 1] as number) << 8)] as number
}
