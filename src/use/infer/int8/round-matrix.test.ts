import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BLOCK, GROUP, GROUP_BYTES, groupsOf, int8Bytes } from '../../../core/graph/int8-layout.ts'
import { type MatrixShape, roundMatrix } from './round-matrix.ts'

/** The weight [row, column] of packed bytes, decoded by the description of the layout. */
function unpacked(packed: Uint8Array, inner: number, row: number, column: number): number {
  const view = new DataView(packed.buffer)
  const group = (Math.floor(column / BLOCK) * groupsOf(inner) + Math.floor(row / GROUP)) * GROUP_BYTES
  const [r, c] = [row % GROUP, column % BLOCK]
  const bits = new DataView(new ArrayBuffer(4))
  bits.setUint16(2, view.getUint16(group + GROUP * BLOCK + 2 * c, true), true)
  return view.getInt8(group + Math.floor(r / 2) * 2 * BLOCK + 2 * c + (r % 2)) * bits.getFloat32(0, true)
}

function rounded(weights: Float32Array, shape: MatrixShape): { after: Float32Array; packed: Uint8Array } {
  const after = weights.slice()
  const packed = new Uint8Array(int8Bytes(shape.inner, shape.columns)).fill(0xff)
  roundMatrix(after, shape, packed)
  return { after, packed }
}

test('a weight changes by at most max |w| / 254 · (1 + 2⁻⁷) of its group, and the packed bytes hold the same values', () => {
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
        const { after, packed } = rounded(weights, shape)
        const at = (row: number, column: number) => (transposed ? column * inner + row : row * columns + column)
        for (let column = 0; column < columns; column++)
          for (let row = 0; row < inner; row++) {
            const first = Math.floor(row / GROUP) * GROUP
            const group = Array.from(
              { length: Math.min(GROUP, inner - first) },
              (_, i) => weights[at(first + i, column)] as number,
            )
            const largest = Math.max(...group.map(Math.abs))
            const [before, now] = [weights[at(row, column)] as number, after[at(row, column)] as number]
            // 2⁻¹³³ is half of the least bfloat16.
            expect(Math.abs(now - before)).toBeLessThanOrEqual((largest / 254) * (1 + 2 ** -7) * (1 + 1e-6) + 2 ** -133)
            expect(unpacked(packed, inner, row, column)).toBe(now + 0)
          }
      },
    ),
    { numRuns: 60 },
  )
})

test('a weight that is not finite stays visible as NaN', () => {
  const { after } = rounded(Float32Array.of(1, Number.NaN, Infinity, 2), { inner: 2, columns: 2, transposed: false })
  expect(after[0]).toBeNaN()
  expect(after[1]).toBeNaN()
})

test('zeros stay zeros, and padding is zero', () => {
  const { after, packed } = rounded(new Float32Array(6), { inner: 3, columns: 2, transposed: false })
  expect([...after]).toEqual([0, 0, 0, 0, 0, 0])
  expect(packed.every((byte) => byte === 0)).toBe(true)
})
