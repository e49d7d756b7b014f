/** Checks rounding to two bytes against its definition: no other number of the type is nearer. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decoderOf } from '../../foreign/decode/decoder.ts'
import { encode, encodeBlocks } from './encode.ts'

/** Number of bits of exponent and of mantissa. */
const types = { bf16: [8, 7], f16: [5, 10] } as const

/** The value of 16 bits, by the definition of IEEE 754. */
function numberOf(bits: number, [exponents, mantissas]: readonly [number, number]): number {
  const sign = bits >>> 15 === 1 ? -1 : 1
  const exponent = (bits >>> mantissas) & (2 ** exponents - 1)
  const fraction = (bits & (2 ** mantissas - 1)) / 2 ** mantissas
  const bias = 2 ** (exponents - 1) - 1
  if (exponent === 2 ** exponents - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias))
}

const encoded = (value: number, dtype: 'bf16' | 'f16'): number =>
  new Uint16Array(encode(Float32Array.of(value), dtype, 'w').buffer)[0] as number

describe.each(['bf16', 'f16'] as const)('%s', (dtype) => {
  test('encodes every number of the type as itself', () => {
    const wrong: number[] = []
    for (let bits = 0; bits < 65_536; bits++) {
      const value = numberOf(bits, types[dtype])
      const back = encoded(value, dtype)
      if (Number.isNaN(value) ? !Number.isNaN(numberOf(back, types[dtype])) : back !== bits) wrong.push(bits)
    }
    expect(wrong).toEqual([])
  })

  test('rounds a number to the nearest number of the type, and ties to the even one', () => {
    const largest = dtype === 'f16' ? 65_504 : 3e38
    fc.assert(
      fc.property(fc.float({ noNaN: true, min: -Math.fround(largest), max: Math.fround(largest) }), (value) => {
        const bits = encoded(value, dtype)
        const distance = Math.abs(numberOf(bits, types[dtype]) - value)
        for (const other of [bits - 1, bits + 1]) {
          const away = Math.abs(numberOf(other & 0xffff, types[dtype]) - value)
          if (Number.isFinite(away)) expect(distance < away || (distance === away && bits % 2 === 0)).toBe(true)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

test('a number too large for f16 is refused by name', () => {
  expect(() => encode(Float32Array.of(1, 70_000), 'f16', 'lm_head.weight')).toThrow(
    'cannot store lm_head.weight as f16: it holds 70000',
  )
  expect(numberOf(encoded(Number.POSITIVE_INFINITY, 'f16'), types.f16)).toBe(Number.POSITIVE_INFINITY)
})

/** Encodes blocks and reads them as the import does. */
function decoded(values: Float32Array, dtype: 'q8_0' | 'q4_0'): Float32Array {
  const back = new Float32Array(values.length)
  decoderOf(dtype.toUpperCase()).decode(encodeBlocks(values, dtype, 'w').buffer as ArrayBuffer, back)
  return back
}

/** Blocks of any magnitude. */
const blocks = fc
  .tuple(
    fc.array(fc.float({ noNaN: true, min: -1, max: 1 }), { minLength: 32, maxLength: 32 }),
    fc.integer({ min: -10, max: 18 }),
  )
  .map(([numbers, exponent]) => Float32Array.from(numbers, (value) => value * 2 ** exponent))

/** The change of a number of `times` scales by the rounding of the scale to f16: 2⁻¹¹ of itself, or 2⁻²⁵ if it is small. */
const ofScale = (scale: number, times: number): number => times * Math.max(scale * 2 ** -11, 2 ** -25)

/** Room for the rounding of products to float32. */
const INEXACT = 1 + 2 ** -18

describe('q8_0', () => {
  test('a block worked by hand: the scale is the largest number over 127, and halves are rounded away from zero', () => {
    // The scale is 0.5 (0x3800 in f16); numbers are 2, 0.6, 0.5 and −0.5 scales, then 127.
    const numbers = [1, 0.3, 0.25, -0.25, -63.5, ...new Array(27).fill(0)]
    const bytes = [0x00, 0x38, 2, 1, 1, 255, 129, ...new Array(27).fill(0)]
    expect([...encodeBlocks(Float32Array.from(numbers), 'q8_0', 'w')]).toEqual(bytes)
  })

  test('a number changes by at most half of the scale, and by the rounding of the scale', () => {
    fc.assert(
      fc.property(blocks, (values) => {
        const scale = Math.max(...values.map(Math.abs)) / 127
        for (const [i, back] of decoded(values, 'q8_0').entries())
          expect(Math.abs(back - (values[i] as number))).toBeLessThanOrEqual(
            (scale / 2) * INEXACT + ofScale(scale, 127),
          )
      }),
    )
  })
})

describe('q4_0', () => {
  test('blocks worked by hand: the number of the largest magnitude becomes −8 scales, and halves are rounded upwards', () => {
    // The scale is −4/−8 = 0.5 (0x3800 in f16). In the first half −8, 0.5 and 8 scales, in the second 2, −0.5 and 0.
    const first = [-4, 0.25, 4, ...new Array(13).fill(0), 1, -0.25, ...new Array(14).fill(0)]
    // The scale is 4/−8 = −0.5, so the numbers are 0.5 · −8, 0.5 · 8 and −0.5 · 1 with the opposite sign.
    const second = [4, -4, 0.5, ...new Array(29).fill(0)]
    const bytes = [
      ...[0x00, 0x38, 0xa0, 0x89, 0x8f, ...new Array(13).fill(0x88)],
      ...[0x00, 0xb8, 0x80, 0x8f, 0x87, ...new Array(13).fill(0x88)],
    ]
    expect([...encodeBlocks(Float32Array.of(...first, ...second), 'q4_0', 'w')]).toEqual(bytes)
  })

  test('a number changes by at most half of the scale, or by a scale if it is opposite to the largest one', () => {
    fc.assert(
      fc.property(blocks, (values) => {
        const largest = values.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0)
        const scale = Math.abs(largest) / 8
        for (const [i, back] of decoded(values, 'q4_0').entries()) {
          const value = values[i] as number
          const isOpposite = value * Math.sign(largest) < -7.5 * scale
          expect(Math.abs(back - value)).toBeLessThanOrEqual(
            (isOpposite ? scale : scale / 2) * INEXACT + ofScale(scale, 8),
          )
        }
      }),
    )
  })
})

test.each(['q8_0', 'q4_0'] as const)(
  '%s: zeros stay zeros, and a number whose scale is too large is refused',
  (dtype) => {
    for (const value of decoded(new Float32Array(64), dtype)) expect(Math.abs(value)).toBe(0)
    for (const large of [1e7, Number.POSITIVE_INFINITY, Number.NaN])
      for (const at of [0, 31]) {
        const values = new Float32Array(32).fill(1)
        values[at] = large
        expect(() => encodeBlocks(values, dtype, 'blk.0.ffn_up.weight')).toThrow(
          new RegExp(
            `^cannot store blk\\.0\\.ffn_up\\.weight as ${dtype}: it holds .*, and the scales of ${dtype} end at 65,?504`,
          ),
        )
      }
  },
)
