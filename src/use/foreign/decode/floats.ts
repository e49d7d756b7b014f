/** F32, BF16 (the upper half of a float32) and F16 (IEEE 754 binary16). */
import type { Decoder } from './contract.ts'

export const F32: Decoder = {
  block: 1,
  bytes: 4,
  decode: (bytes, values) => values.set(new Float32Array(bytes, 0, values.length)),
}

export const BF16: Decoder = {
  block: 1,
  bytes: 2,
  decode(bytes, values) {
    const halves = new Uint16Array(bytes, 0, values.length)
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
    for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16
  },
}

export const F16: Decoder = {
  block: 1,
  bytes: 2,
  decode(bytes, values) {
    const halves = new Uint16Array(bytes, 0, values.length)
    const table = halfTable()
    for (let i = 0; i < halves.length; i++) values[i] = table[halves[i] as number] as number
  },
}

let halves: Float32Array | undefined

/** The value of each of the 65,536 binary16 numbers. */
function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1
    const exponent = (half >> 10) & 31
    const fraction = half & 1023
    if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
  })
  return halves
}

/** Returns a reader of the binary16 number, little-endian, at a byte. */
export function halvesIn(data: Uint8Array): (at: number) => number {
  const table = halfTable()
  return (at) => table[(data[at] as number) | ((data[at + 1] as number) << 8)] as number
}
