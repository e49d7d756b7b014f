/** Random blocks of the types of GGUF files: any bits, except that scales in binary16 are small and finite. */
import { randomFor } from '../../../core/random.ts'
import { decoderOf } from '../decode/decoder.ts'

/** Where the numbers in binary16 of a block are. */
const halves: Readonly<Record<string, readonly number[]>> = {
  F16: [0],
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
}

/** The bytes of some blocks of a type. */
export function randomBlocks(dtype: string, count: number, seed: number): Uint8Array<ArrayBuffer> {
  const { bytes } = decoderOf(dtype)
  const random = randomFor(seed, dtype)
  const byte = () => Math.floor(256 * random.uniform())
  const data = Uint8Array.from({ length: count * bytes }, byte)
  for (let at = 0; at < data.length; at += bytes) {
    // The exponents of binary16, BF16 and F32 decide the size: 2⁻¹⁰ to 2⁻⁷.
    for (const place of halves[dtype] ?? [])
      data[at + place + 1] = (byte() & 0x80) | ((5 + (byte() & 3)) << 2) | (byte() & 3)
    if (dtype === 'F32' || dtype === 'BF16') data[at + bytes - 1] = (byte() & 0x80) | 0x3c
  }
  return data
}
