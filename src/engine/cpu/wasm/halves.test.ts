/**
 * Compares kernels on rows of bfloat16 with the same kernels on float32, whose operands are widened and whose results
 * are rounded here.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { absent, begin, below, call, type Placed, place, placeIntegers, random } from './testing/rows.ts'

const seed = fc.nat()
const rows = fc.integer({ min: 1, max: 9 })
const width = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 70 }) }, fc.constantFrom(512, 1027))

/** The nearest number with 8 significant bits, and of two equally near ones the even one. */
function rounded(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x
  const unit = 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(x)))) - 7)
  const below = Math.floor(x / unit)
  const part = x / unit - below
  const up = part > 0.5 || (part === 0.5 && below % 2 !== 0)
  return (below + (up ? 1 : 0)) * unit
}

const words = ({ at, values }: Placed) => new Uint16Array(values.buffer, at, 2 * values.length)
/** Places numbers as bfloat16. If their number is odd, one more word has memory. */
function placeHalves(numbers: ArrayLike<number>): Placed {
  const placed = place(Math.ceil(numbers.length / 2))
  const bits = new Uint32Array(Float32Array.from(numbers).buffer)
  bits.forEach((word, i) => {
    words(placed)[i] = word >>> 16
  })
  return placed
}
const widened = (placed: Placed, count: number): number[] =>
  Array.from(new Float32Array(Uint32Array.from(words(placed).subarray(0, count), (word) => word << 16).buffer))
const drawn = (count: number): number[] => Array.from({ length: count }, () => rounded(random() * 2 ** below(20)))

test('results are rounded to the nearest, ties to even', () => {
  const numbers = [
    1,
    1 + 2 ** -8,
    1 + 3 * 2 ** -8,
    -1 - 2 ** -8 - 2 ** -20,
    2 ** -130,
    3.3e38,
    Number.POSITIVE_INFINITY,
  ]
  for (const shift of [0, 1, 2, 3, 4]) {
    begin(1)
    const x = place(numbers.length + shift, (i) => numbers[i - shift] ?? 0.1)
    const index = placeIntegers(1, () => 0)
    const out = placeHalves(new Float32Array(x.values.length))
    call('gatherRows', x.at, 4, 1, index.at, absent, out.at, 2, 1, x.values.length)
    expect(widened(out, x.values.length).slice(shift)).toEqual(
      // Numbers below 2⁻¹²⁶ have fewer bits; 3.3e38 is nearest to a finite number.
      numbers.map((value) => Math.fround(rounded(value))),
    )
  }
})

test('a NaN stays a NaN', () => {
  begin(1)
  const x = place(5, (i) => (i === 2 ? Number.NaN : i))
  const out = placeHalves(new Float32Array(5))
  call('gatherRows', x.at, 4, 1, placeIntegers(1, () => 0).at, absent, out.at, 2, 1, 5)
  expect(widened(out, 5)).toEqual([0, 1, Number.NaN, 3, 4])
})

test('rmsNorm rounds its rows', () => {
  fc.assert(
    fc.property(seed, rows, width, (seed, rows, width) => {
      begin(seed)
      const [x, weight, y, inverse] = [place(rows * width), place(width), place(rows * width), place(rows)]
      const [half, again] = [placeHalves(new Float32Array(rows * width)), place(rows)]
      call('rmsNorm', x.at, weight.at, y.at, 4, inverse.at, rows, width, 1e-5)
      call('rmsNorm', x.at, weight.at, half.at, 2, again.at, rows, width, 1e-5)
      expect(widened(half, rows * width)).toEqual(Array.from(y.values, rounded))
      expect(again.values).toEqual(inverse.values)
    }),
  )
})

test('gatherRows reads and writes both types', () => {
  fc.assert(
    fc.property(seed, rows, width, fc.boolean(), (seed, rows, width, weighted) => {
      begin(seed)
      const numbers = drawn(3 * width)
      const [full, half] = [place(numbers.length, (i) => numbers[i] as number), placeHalves(numbers)]
      const index = placeIntegers(rows, () => below(3))
      const weight = weighted ? place(rows).at : absent
      const out = place(rows * width)
      call('gatherRows', full.at, 4, 3, index.at, weight, out.at, 4, rows, width)
      for (const [from, bytes] of [
        [full, 4],
        [half, 2],
      ] as const) {
        const to = placeHalves(new Float32Array(rows * width))
        call('gatherRows', from.at, bytes, 3, index.at, weight, to.at, 2, rows, width)
        expect(widened(to, rows * width), `from ${bytes} bytes`).toEqual(Array.from(out.values, rounded))
      }
      const to = place(rows * width)
      call('gatherRows', half.at, 2, 3, index.at, weight, to.at, 4, rows, width)
      expect(to.values).toEqual(out.values)
    }),
  )
})

test('heads of bfloat16 are rotated, scaled and multiplied like heads of float32', () => {
  fc.assert(
    fc.property(
      seed,
      rows,
      fc.integer({ min: 1, max: 35 }),
      fc.integer({ min: 1, max: 3 }),
      (seed, rows, half, heads) => {
        begin(seed)
        const width = 2 * half
        const count = rows * heads * width
        const pairs = [drawn(count), drawn(count)].map(
          (numbers) => [place(count, (i) => numbers[i] as number), placeHalves(numbers)] as const,
        ) as [readonly [Placed, Placed], readonly [Placed, Placed]]
        const [[x, xHalf], [y, yHalf]] = pairs
        const [cos, sin] = [place(rows * half).at, place(rows * half).at]
        const strides = [heads * width, width] as const
        for (const [name, size, rest] of [
          ['rotateHeads', half, [cos, sin, 0.3, -1]],
          ['scaleHeads', width, [0.3]],
        ] as const) {
          const [to, toHalf] = [place(count), placeHalves(new Float32Array(count))]
          call(name, x.at, 4, ...strides, to.at, 4, ...strides, rows, heads, size, ...rest)
          call(name, xHalf.at, 2, ...strides, toHalf.at, 2, ...strides, rows, heads, size, ...rest)
          expect(widened(toHalf, count), name).toEqual(Array.from(to.values, rounded))
        }
        const dots = place(rows * heads)
        call('headDots', x.at, 4, y.at, 4, ...strides, rows, heads, width, dots.at, rows)
        for (const [a, b] of [
          [
            [xHalf.at, 2],
            [y.at, 4],
          ],
          [
            [x.at, 4],
            [yHalf.at, 2],
          ],
          [
            [xHalf.at, 2],
            [yHalf.at, 2],
          ],
        ] as const) {
          const again = place(rows * heads)
          call('headDots', ...a, ...b, ...strides, rows, heads, width, again.at, rows)
          expect(again.values, `${a[1]} and ${b[1]} bytes`).toEqual(dots.values)
        }
      },
    ),
  )
})

test('combineRows and rowDots read rows of bfloat16', () => {
  fc.assert(
    fc.property(
      seed,
      rows,
      width,
      fc.integer({ min: 1, max: 3 }),
      fc.boolean(),
      (seed, tokens, width, choices, sum) => {
        begin(seed)
        const numbers = drawn(4 * width)
        const [full, half] = [place(numbers.length, (i) => numbers[i] as number), placeHalves(numbers)]
        const slot = placeIntegers(tokens * choices, () => below(4))
        const weight = place(tokens * choices, () => Math.max(0, random()))
        const addend = sum ? place(tokens * width).at : absent
        const dy = place(tokens * width)
        const results = [full, half].map((from, i) => {
          const [combined, dots] = [place(tokens * width), place(tokens * choices)]
          const source = [from.at, i === 0 ? 4 : 2, 4, slot.at, weight.at] as const
          call('combineRows', ...source, absent, addend, combined.at, tokens, choices, width)
          call('rowDots', dy.at, ...source, dots.at, tokens, choices, width)
          return [combined.values, dots.values]
        })
        expect(results[1]).toEqual(results[0])
      },
    ),
  )
})
