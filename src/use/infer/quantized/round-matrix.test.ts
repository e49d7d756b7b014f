import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type Bits,
  BLOCK,
  groupBytes,
  groupRows,
  groupsOf,
  quantizedBytes,
  weightBytes,
} from '../../../core/graph/quantized-layout.ts'
import { type MatrixShape, roundMatrix } from './round-matrix.ts'

/** The weight [row, column] of packed bytes, decoded by the description of the layout. */
function unpacked(packed: Uint8Array, bits: Bits, inner: number, row: number, column: number): number {
  const view = new DataView(packed.buffer)
  const group =
    (Math.floor(column / BLOCK) * groupsOf(bits, inner) + Math.floor(row / groupRows(bits))) * groupBytes(bits)
  const [r, c] = [row % groupRows(bits), column % BLOCK]
  const scale = new DataView(new ArrayBuffer(4))
  if (bits === 16) {
    scale.setUint16(2, view.getUint16(group + 2 * (r * BLOCK + c), true), true)
    return scale.getFloat32(0, true)
  }
  scale.setUint16(2, view.getUint16(group + weightBytes(bits) + 2 * c, true), true)
  const pair = Math.floor(r / 2)
  const q =
    bits === 8
      ? view.getInt8(group + pair * 2 * BLOCK + 2 * c + (r % 2))
      : ((view.getUint16(group + pair * BLOCK + 2 * (2 * (c % 4) + (r % 2)), true) >> (4 * Math.floor(c / 4))) & 15) - 8
  return q * scale.getFloat32(0, true)
}

function rounded(weights: Float32Array, bits: Bits, shape: MatrixShape): { after: Float32Array; packed: Uint8Array } {
  const after = weights.slice()
  const packed = new Uint8Array(quantizedBytes(bits, shape.inner, shape.columns)).fill(0xff)
  roundMatrix(after, shape, bits, packed)
  return { after, packed }
}

test.each([16, 8, 4] as const)(
  'a weight changes by at most what is documented, and the packed bytes hold the same values: %i bits',
  (bits) => {
    fc.assert(
      fc.property(
        fc.record({
          inner: fc.integer({ min: 1, max: 140 }),
          columns: fc.integer({ min: 1, max: 40 }),
          transposed: fc.boolean(),
        }),
        fc.integer({ min: -30, max: 30 }),
        fc.infiniteStream(fc.float({ min: -1, max: 1, noNaN: true })),
        (shape, exponent, numbers) => {
          const { inner, columns, transposed } = shape
          const weights = Float32Array.from(
            { length: inner * columns },
            () => (numbers.next().value as number) * 2 ** exponent,
          )
          const { after, packed } = rounded(weights, bits, shape)
          const at = (row: number, column: number) => (transposed ? column * inner + row : row * columns + column)
          for (let column = 0; column < columns; column++)
            for (let row = 0; row < inner; row++) {
              const first = Math.floor(row / groupRows(bits)) * groupRows(bits)
              const group = Array.from(
                { length: Math.min(groupRows(bits), inner - first) },
                (_, i) => weights[at(first + i, column)] as number,
              )
              const largest = Math.max(...group.map(Math.abs))
              const [before, now] = [weights[at(row, column)] as number, after[at(row, column)] as number]
              // 2⁻¹³³ is half of the least bfloat16.
              const bound = bits === 16 ? Math.abs(before) / 2 ** 8 : largest / (bits === 8 ? 254 : 8)
              const opposite = bits === 4 && group.some((value) => Math.abs(value) === largest && value * before < 0)
              const half = bits === 4 && !opposite ? 2 : 1
              expect(Math.abs(now - before)).toBeLessThanOrEqual(
                (bound / half) * (1 + 2 ** -7) * (1 + 1e-6) + 2 ** -133,
              )
              expect(unpacked(packed, bits, inner, row, column) + 0).toBe(now + 0)
            }
        },
      ),
      { numRuns: 25 },
    )
  },
)

/** The bits of float32 numbers; every NaN has the same. */
const bitsOfFloats = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.map((value) => (Number.isNaN(value) ? Number.NaN : value)).buffer)

/** The least bfloat16 that is not below a number of float32, from its definition. */
function upToBfloat16(value: number): number {
  const single = Math.fround(value)
  if (single === 0 || !Number.isFinite(single)) return single
  // A bfloat16 has 8 digits, and the least one is 2⁻¹³³.
  const digit = 2 ** Math.max(Math.floor(Math.log2(single)) - 7, -133)
  return Math.ceil(single / digit) * digit
}

/** The rounded weights of a group, from the definition in the docstring. */
function roundedGroup(weights: readonly number[], bits: 8 | 4): number[] {
  const largest = Math.max(0, ...weights.map(Math.abs))
  const extreme = weights.findLast((weight) => Math.abs(weight) === largest) ?? largest
  const scale = bits === 8 ? upToBfloat16(largest / 127) : -Math.sign(extreme) * upToBfloat16(largest / 8)
  return weights.map((weight) => {
    const q = scale === 0 ? 0 : Math.round(weight / scale)
    return (bits === 4 ? Math.min(7, q) : q) * scale
  })
}

/** Values at which a rounding may go wrong: halves of scales, neighbours of halves, the least and largest numbers. */
const adversarial = fc.oneof(
  fc.float({ noNaN: true, min: -1, max: 1 }),
  fc.integer({ min: -255, max: 255 }).map((n) => n / 2),
  fc.integer({ min: -255, max: 255 }).map((n) => Math.fround((n / 2) * (1 + 2 ** -23))),
  fc.integer({ min: -255, max: 255 }).map((n) => Math.fround((n / 2) * (1 - 2 ** -24))),
  fc.constantFrom(0, -0, 127, -127, 8, -8, 7.5, -7.5, 2 ** -149, -(2 ** -149), 2 ** -126, 3.4e38, -3.4e38),
  fc.constantFrom(Number.NaN, Infinity, -Infinity),
)

test.each([8, 4] as const)('every bit of a weight is as defined, also of extreme values: %i bits', (bits) => {
  fc.assert(
    fc.property(
      fc.array(adversarial, { minLength: 1, maxLength: 150 }),
      fc.integer({ min: 1, max: 19 }),
      fc.integer({ min: -30, max: 30 }),
      fc.boolean(),
      (values, columns, exponent, transposed) => {
        const inner = Math.ceil(values.length / columns)
        const weights = Float32Array.from(
          { length: inner * columns },
          (_, i) => (values[i % values.length] as number) * 2 ** (i % 3 === 0 ? 0 : exponent),
        )
        const shape = { inner, columns, transposed }
        const { after } = rounded(weights, bits, shape)
        const at = (row: number, column: number) => (transposed ? column * inner + row : row * columns + column)
        const expected = new Float32Array(weights.length)
        for (let column = 0; column < columns; column++)
          for (let first = 0; first < inner; first += groupRows(bits)) {
            const rows = Array.from({ length: Math.min(groupRows(bits), inner - first) }, (_, i) => first + i)
            const group = roundedGroup(
              rows.map((row) => weights[at(row, column)] as number),
              bits,
            )
            for (const [i, row] of rows.entries()) expected[at(row, column)] = group[i] as number
          }
        expect(bitsOfFloats(after)).toEqual(bitsOfFloats(expected))
      },
    ),
    { numRuns: 300 },
  )
})

test.each([16, 8, 4] as const)('a weight that is not finite stays visible as NaN: %i bits', (bits) => {
  const shape = { inner: 2, columns: 2, transposed: false }
  const { after } = rounded(Float32Array.of(1, Number.NaN, Infinity, 2), bits, shape)
  // With 16 bits there are no groups, and infinity is a bfloat16.
  expect(after[1]).toBeNaN()
  if (bits === 16) expect([...after]).toEqual([1, Number.NaN, Infinity, 2])
  else expect(after[0]).toBeNaN()
})

test('zeros stay zeros, and padding is zero', () => {
  const { after, packed } = rounded(new Float32Array(6), 8, { inner: 3, columns: 2, transposed: false })
  expect([...after]).toEqual([0, 0, 0, 0, 0, 0])
  expect(packed.every((byte) => byte === 0)).toBe(true)
})

test('the columns and rows of padding of 4 bits are zero', () => {
  const { packed } = rounded(Float32Array.of(1, 2, 3, 4, 5, 6), 4, { inner: 3, columns: 2, transposed: false })
  for (const [row, column] of [
    [3, 0],
    [31, 1],
    [0, 2],
    [30, 15],
  ] as const)
    expect(unpacked(packed, 4, 3, row, column) + 0).toBe(0)
})

test('weights that are bfloat16 already do not change', () => {
  const weights = Float32Array.from({ length: 35 }, (_, i) => (i - 17) * 2 ** -9)
  expect(rounded(weights, 16, { inner: 7, columns: 5, transposed: false }).after).toEqual(weights)
})
