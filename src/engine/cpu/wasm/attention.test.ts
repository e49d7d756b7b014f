/** Compares the kernels of attention with plain loops in float64. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  at,
  begin,
  below,
  call,
  check,
  eachOf,
  integers,
  type Placed,
  place,
  placeIntegers,
  random,
  row,
  total,
} from './testing/rows.ts'

const rows = fc.integer({ min: 0, max: 20 })
const heads = fc.integer({ min: 1, max: 3 })
const width = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 70 }) }, fc.constantFrom(512))
const scale = fc.constantFrom(1, -0.3, 1e-3, 1e8)
const seed = fc.nat()
const flag = fc.boolean()

/** Places rows of heads, with gaps between heads and between rows. */
function placeHeads(rows: number, heads: number, width: number) {
  const apart = width + below(3)
  const stride = heads * apart + below(5)
  return { ...place(rows * stride), stride, apart }
}

/** The bits of the nearest bfloat16, and of two equally near ones the one with an even last bit. */
function rounded(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)
  const low = at(bits, 0) % 65536
  const upper = (at(bits, 0) - low) / 65536
  return low > 32768 || (low === 32768 && upper % 2 === 1) ? upper + 1 : upper
}

/** The memory of floats as bfloat16 numbers. */
const halves = ({ values }: Placed) => new Uint16Array(values.buffer, values.byteOffset, 2 * values.length)

test('rotateHeads rotates pairs of each head, also in place, and rounds the same results to bfloat16', () => {
  const half = fc.integer({ min: 0, max: 35 })
  fc.assert(
    fc.property(seed, rows, heads, half, flag, flag, scale, (seed, rows, heads, half, inPlace, back, scale) => {
      begin(seed)
      const sign = back ? -1 : 1
      const from = placeHeads(rows, heads, 2 * half)
      const [cos, sin] = [place(rows * half), place(rows * half)]
      const to = inPlace ? from : placeHeads(rows, heads, 2 * half)
      const expected = new Map(
        Array.from({ length: heads }, (_, h) => h).flatMap((h) =>
          [
            ...eachOf(rows, 2 * half, to.stride, (r, c) => {
              const i = c % half
              const head = r * from.stride + h * from.apart
              const [a, b] = [at(from.values, head + i), at(from.values, head + half + i)]
              const [x, y] = [at(cos.values, r * half + i), sign * at(sin.values, r * half + i)]
              return total(c < half ? [scale * a * x, -scale * b * y] : [scale * b * x, scale * a * y])
            }),
          ].map(([i, value]) => [i + h * to.apart, value] as const),
        ),
      )
      const run = (r: number, count: number) => {
        const source = [row(from, r, from.stride), 4, from.stride, from.apart]
        const target = [row(to, r, to.stride), 4, to.stride, to.apart, count, heads, half]
        call('rotateHeads', ...source, ...target, row(cos, r, half), row(sin, r, half), scale, sign)
      }
      check(rows, run, new Map([[to, expected]]))
      if (inPlace) return
      const out = place(rows * heads * half)
      const source = [from.at, 4, from.stride, from.apart]
      const target = [out.at, 2, 2 * half, rows * 2 * half, rows, heads, half, cos.at, sin.at]
      call('rotateHeads', ...source, ...target, scale, sign)
      expectRounded(out, to, rows, heads, 2 * half)
    }),
  )
})

/** Expects `out`, a matrix [rows, width] of bfloat16 for each head, to have the exact numbers rounded. */
function expectRounded(out: Placed, exact: ReturnType<typeof placeHeads>, rows: number, heads: number, width: number) {
  for (let h = 0; h < heads; h++)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < width; c++)
        expect(halves(out)[(h * rows + r) * width + c]).toBe(
          rounded(at(exact.values, r * exact.stride + h * exact.apart + c)),
        )
}

test('scaleHeads scales each head, also in place, and rounds the same results to bfloat16', () => {
  const even = width.map((width) => 2 * Math.ceil(width / 2))
  fc.assert(
    fc.property(seed, rows, heads, even, flag, scale, (seed, rows, heads, width, inPlace, scale) => {
      begin(seed)
      const from = placeHeads(rows, heads, width)
      const to = inPlace ? from : placeHeads(rows, heads, width)
      const expected = new Map(
        Array.from({ length: heads }, (_, h) => h).flatMap((h) =>
          [
            ...eachOf(rows, width, to.stride, (r, c) =>
              total([scale * at(from.values, r * from.stride + h * from.apart + c)]),
            ),
          ].map(([i, value]) => [i + h * to.apart, value] as const),
        ),
      )
      const run = (r: number, count: number) => {
        const source = [row(from, r, from.stride), 4, from.stride, from.apart]
        call('scaleHeads', ...source, row(to, r, to.stride), 4, to.stride, to.apart, count, heads, width, scale)
      }
      check(rows, run, new Map([[to, expected]]))
      if (inPlace) return
      const out = place((rows * heads * width) / 2)
      const source = [from.at, 4, from.stride, from.apart]
      call('scaleHeads', ...source, out.at, 2, width, rows * width, rows, heads, width, scale)
      expectRounded(out, to, rows, heads, width)
    }),
  )
})

test('rounding is to nearest, ties to even, and keeps infinities and NaN', () => {
  begin(1)
  const ties = [1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8]
  const special = [3.4e38, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1e-44]
  const from = place(10, (i) => [...ties, ...special, Number.NaN][i] ?? 1)
  const out = place(5)
  call('scaleHeads', from.at, 4, 10, 10, out.at, 2, 10, 10, 1, 1, 10, 1)
  const results = [...halves(out)]
  expect(results.slice(0, 9)).toEqual([...ties, ...special].map(rounded))
  expect(results.slice(0, 3)).toEqual([0x3f80, 0x3f82, 0xbf80])
  expect(at(results, 9) & 0x7fff).toBeGreaterThan(0x7f80)
})

test('maskAbove masks the columns after first + row and nothing else', () => {
  fc.assert(
    fc.property(seed, rows, fc.nat(40), fc.nat(45), (seed, rows, columns, first) => {
      begin(seed)
      const stride = columns + below(5)
      const scores = place(rows * stride)
      const hidden = eachOf(rows, columns, stride, () => [-1e30, 1e30])
      for (const i of hidden.keys()) if (i % stride <= first + Math.floor(i / stride)) hidden.delete(i)
      const run = (r: number, count: number) =>
        call('maskAbove', row(scores, r, stride), stride, count, columns, first + r, -1e30)
      check(rows, run, new Map([[scores, hidden]]))
    }),
  )
})

test('maskBefore masks the columns before the first of a row and nothing else', () => {
  fc.assert(
    fc.property(seed, rows, fc.nat(40), fc.nat(20), (seed, rows, columns, start) => {
      begin(seed)
      const stride = columns + below(5)
      const scores = place(rows * stride)
      const firsts = placeIntegers(rows, () => below(start + columns + 1))
      const hidden = eachOf(rows, columns, stride, () => [-1e30, 1e30])
      for (const i of hidden.keys())
        if (start + (i % stride) >= at(integers(firsts), Math.floor(i / stride))) hidden.delete(i)
      const run = (r: number, count: number) =>
        call('maskBefore', row(scores, r, stride), stride, count, row(firsts, r, 1), start, -1e30)
      check(rows, run, new Map([[scores, hidden]]))
    }),
  )
})

test('raiseLow raises scores that are far below the largest of their row, and nothing else', () => {
  fc.assert(
    fc.property(seed, rows, fc.integer({ min: 1, max: 40 }), (seed, rows, columns) => {
      begin(seed)
      const scores = place(rows * columns)
      const raised = eachOf(rows, columns, columns, (r, c) => {
        const least = Math.max(...scores.values.slice(r * columns, (r + 1) * columns)) - 1
        return [Math.max(at(scores.values, r * columns + c), least), 1]
      })
      const run = (r: number, count: number) => call('raiseLow', row(scores, r, columns), count, columns, 1)
      check(rows, run, new Map([[scores, raised]]))
    }),
  )
})

test('headDots multiplies the heads of a row', () => {
  fc.assert(
    fc.property(seed, rows, heads, width, (seed, rows, heads, width) => {
      begin(seed)
      const a = placeHeads(rows, heads, width)
      const b = place(rows * a.stride)
      const apart = rows + below(3)
      const dots = place(heads * apart)
      const expected = eachOf(heads, rows, apart, (h, r) =>
        total(
          Array.from({ length: width }, (_, c) => {
            const i = r * a.stride + h * a.apart + c
            return at(a.values, i) * at(b.values, i)
          }),
        ),
      )
      const run = (r: number, count: number) => {
        const factors = [row(a, r, a.stride), 4, row(b, r, a.stride), 4, a.stride, a.apart]
        call('headDots', ...factors, count, heads, width, row(dots, r, 1), apart)
      }
      check(rows, run, new Map([[dots, expected]]))
    }),
  )
})

test('logSums are the log sums of the scores, even where the probability of the query itself vanishes', () => {
  fc.assert(
    fc.property(seed, rows, fc.integer({ min: 1, max: 40 }), fc.constantFrom(1, 30, 1e4), (seed, rows, more, size) => {
      begin(seed)
      const [first, columns] = [below(more), rows + more]
      const scores = place(rows * columns, () => size * random())
      const row64 = (r: number) => [...scores.values.subarray(r * columns, (r + 1) * columns)]
      const logSum = (r: number) => {
        const largest = Math.max(...row64(r))
        return largest + Math.log(row64(r).reduce((sum, score) => sum + Math.exp(score - largest), 0))
      }
      const p = place(rows * columns, (i) => Math.exp(at(scores.values, i) - logSum(Math.floor(i / columns))))
      const sums = place(rows)
      call('logSums', scores.at, p.at, rows, columns, first, sums.at)
      for (let r = 0; r < rows; r++)
        expect(Math.abs(at(sums.values, r) - logSum(r))).toBeLessThan(1e-6 * (1 + Math.abs(logSum(r))))
    }),
  )
})

test('a NaN among the probabilities makes its log sum NaN', () => {
  begin(1)
  const [scores, p, sums] = [place(6), place(6, (i) => (i < 3 ? Number.NaN : 1 / 3)), place(2)]
  call('logSums', scores.at, p.at, 2, 3, 0, sums.at)
  expect([...sums.values].map(Number.isNaN)).toEqual([true, false])
})

for (const bytes of [2, 4] as const)
  test(`masks of transposed probabilities of ${bytes} bytes clear only keys that queries do not see`, () => {
    const side = fc.integer({ min: 1, max: 20 })
    fc.assert(
      fc.property(
        seed,
        side,
        side,
        fc.integer({ min: -15, max: 15 }),
        flag,
        (seed, keys, queries, ahead, documents) => {
          begin(seed)
          const start = below(30)
          const [before, p, after] = [place(1), place(keys * queries), place(1)]
          const elements = bytes === 4 ? integers(p) : halves(p)
          elements.fill(7)
          const guards = [before.values[0], after.values[0]]
          const firsts = placeIntegers(queries, () => below(start + keys + 5))
          if (documents) call('clearBefore', p.at, bytes, keys, queries, firsts.at, start)
          else call('clearAfter', p.at, bytes, keys, queries, ahead)
          for (let key = 0; key < keys; key++)
            for (let query = 0; query < queries; query++) {
              const seen = documents ? start + key >= at(integers(firsts), query) : key <= ahead + query
              expect(elements[key * queries + query]).toBe(seen ? 7 : 0)
            }
          expect([before.values[0], after.values[0]]).toEqual(guards)
        },
      ),
    )
  })
