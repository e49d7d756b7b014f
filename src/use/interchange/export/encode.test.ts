/** Checks rounding to two bytes against its definition: no other number of the type is nearer. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encode } from './encode.ts'

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
