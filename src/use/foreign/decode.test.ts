/** Blocks worked by hand from the layout in ggml-common.h: a scale in binary16, then 32 numbers. */
import { expect, test } from 'vitest'
import { decoderOf } from './decode.ts'

/** 0.5 in binary16 is 0x3800, and −2 is 0xc000, both little-endian. */
const [half, minusTwo] = [
  [0x00, 0x38],
  [0x00, 0xc0],
]

function decoded(dtype: string, bytes: readonly number[], count: number): number[] {
  const values = new Float32Array(count)
  decoderOf(dtype).decode(Uint8Array.from(bytes).buffer, values)
  return [...values]
}

test('a block of Q8_0 is its scale times 32 signed bytes', () => {
  const first = [...half, 0, 1, 2, 127, 128, 255, ...new Array(26).fill(0)]
  const second = [...minusTwo, ...new Array(31).fill(0), 3]
  const values = decoded('Q8_0', [...first, ...second], 64)
  expect(values.slice(0, 6)).toEqual([0, 0.5, 1, 63.5, -64, -0.5])
  expect(values[63]).toBe(-6)
})

test('a block of Q4_0 is its scale times the low halves of 16 bytes, then their high halves, less 8', () => {
  // 0x0f: low 15, high 0. 0x81: low 1, high 8.
  const values = decoded('Q4_0', [...half, 0x0f, 0x81, ...new Array(14).fill(0x88)], 32)
  expect(values.slice(0, 2)).toEqual([3.5, -3.5])
  expect(values.slice(16, 18)).toEqual([-4, 0])
  expect(values.slice(2, 16).map(Math.abs)).toEqual(new Array(14).fill(0))
})
