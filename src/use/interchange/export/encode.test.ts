/** Checks rounding to two bytes against its definition: no other number of the type is nearer. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decoderOf } from '../../foreign/decode.ts'
import { encode, encodeQ8 } from './encode.ts'

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

describe('q8_0', () => {
  test('a block worked by hand: the scale is the largest number over 127, and halves are rounded away from zero', () => {
    // The scale is 0.5 (0x3800 in f16); numbers are 2, 0.6, 0.5 and −0.5 scales, then 127.
    const numbers = [1, 0.3, 0.25, -0.25, -63.5, ...new Array(27).fill(0)]
    const bytes = [0x00, 0x38, 2, 1, 1, 255, 129, ...new Array(27).fill(0)]
    expect([...encodeQ8(Float32Array.from(numbers), 'w')]).toEqual(bytes)
  })

  test('a number changes by at most half of the scale, and by the rounding of the scale', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, min: -1, max: 1 }), { minLength: 32, maxLength: 32 }),
        fc.integer({ min: -10, max: 20 }),
        (numbers, exponent) => {
          const values = Float32Array.from(numbers, (value) => value * 2 ** exponent)
          const back = new Float32Array(32)
          decoderOf('Q8_0').decode(encodeQ8(values, 'w').buffer as ArrayBuffer, back)
          const largest = Math.max(...values.map(Math.abs))
          // The scale in f16 changes by 2⁻¹¹ of itself, or by 2⁻²⁵ if it is small.
          const ofScale = 127 * Math.max((largest / 127) * 2 ** -11, 2 ** -25)
          for (const [i, value] of values.entries())
            expect(Math.abs((back[i] as number) - value)).toBeLessThanOrEqual(
              (largest / 254) * (1 + 2 ** -20) + ofScale,
            )
        },
      ),
    )
  })

  test('zeros stay zeros, and a number whose scale is too large is refused by name', () => {
    expect(encodeQ8(new Float32Array(64), 'w')).toEqual(new Uint8Array(68))
    for (const large of [1e7, Number.POSITIVE_INFINITY, Number.NaN])
      expect(() => encodeQ8(new Float32Array(32).fill(large), 'blk.0.ffn_up.weight')).toThrow(
        /^cannot store blk\.0\.ffn_up\.weight as q8_0: it holds .*, and the scales of q8_0 end at 65,?504/,
      )
  })
})
