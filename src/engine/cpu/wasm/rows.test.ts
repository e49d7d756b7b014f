/** Compares the kernels on rows with plain loops in float64. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { OpFunctions } from './module.ts'
import {
  absent,
  at,
  begin,
  below,
  call,
  check,
  each,
  eachOf,
  integers,
  type Placed,
  place,
  placeIntegers,
  random,
  row,
  total,
} from './testing/rows.ts'

const rows = fc.integer({ min: 0, max: 9 })
const width = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 70 }) }, fc.constantFrom(512, 1027))
const seed = fc.nat()
const flag = fc.boolean()
const choices = fc.integer({ min: 1, max: 5 })

describe('rmsNorm', () => {
  const largeWidth = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(512, 3000, 9001))
  const size = fc.constantFrom(1, 1e-3, 1e18)

  test('divides rows by their root mean square, up to 1e18', () => {
    fc.assert(
      fc.property(seed, rows, largeWidth, size, flag, (seed, rows, width, size, extreme) => {
        begin(seed)
        const x = place(rows * width, () => size * (extreme ? Math.sign(random()) : random()))
        const weight = place(width)
        const [y, inverse] = [place(rows * width), place(rows)]
        const inverses = each(rows, (r) => {
          const squares = [...x.values.subarray(r * width, (r + 1) * width)].map((value) => value ** 2)
          const value = 1 / Math.sqrt(total(squares)[0] / width + Math.fround(1e-5))
          return [value, value]
        })
        const run = (r: number, count: number) =>
          call('rmsNorm', row(x, r, width), weight.at, row(y, r, width), 4, row(inverse, r, 1), count, width, 1e-5)
        const expected = eachOf(rows, width, width, (r, c) =>
          total([at(x.values, r * width + c) * (inverses.get(r)?.[0] ?? 0) * at(weight.values, c)]),
        )
        check(
          rows,
          run,
          new Map([
            [y, expected],
            [inverse, inverses],
          ]),
        )
      }),
    )
  })

  test('the gradient follows the formula, also written over dy or an addend, and dWeight sums over the rows', () => {
    fc.assert(
      fc.property(seed, rows, width, size, fc.nat(3), (seed, rows, width, size, mode) => {
        begin(seed)
        const dy = place(rows * width)
        const x = place(rows * width, () => size * random())
        const [weight, inverse] = [place(width), place(rows, () => (1 + random() / 2) / size)]
        const addend = mode >= 2 ? place(rows * width) : undefined
        const dx = mode === 1 ? dy : mode === 2 && addend ? addend : place(rows * width)
        const dWeight = place(width)
        const element = (placed: Placed, r: number, c: number) => at(placed.values, r * width + c)
        const dots = Array.from({ length: rows }, (_, r) =>
          total(Array.from(weight.values, (w, c) => element(dy, r, c) * element(x, r, c) * w)),
        )
        const expected = eachOf(rows, width, width, (r, c) => {
          const [[sum, sumSize], s] = [dots[r] ?? [0, 0], at(inverse.values, r)]
          const along = (s ** 3 / width) * element(x, r, c)
          const own = s * element(dy, r, c) * at(weight.values, c)
          const other = addend ? element(addend, r, c) : 0
          return [own - along * sum + other, Math.abs(own) + Math.abs(along * sumSize) + Math.abs(other)]
        })
        const sums = each(width, (c) =>
          total(Array.from(inverse.values, (s, r) => s * element(dy, r, c) * element(x, r, c))),
        )
        const run = (r: number, count: number) =>
          call(
            'rmsNormGradient',
            row(dy, r, width),
            row(x, r, width),
            weight.at,
            row(inverse, r, 1),
            addend ? row(addend, r, width) : absent,
            row(dx, r, width),
            dWeight.at,
            count,
            width,
          )
        check(
          rows,
          run,
          new Map([
            [dx, expected],
            [dWeight, sums],
          ]),
          dWeight,
        )
      }),
      { numRuns: 60 },
    )
  })

  test('an infinity or NaN stays visible in its row and does not reach others', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      for (let i = 0; i < 37; i++) {
        begin(1)
        const [x, weight, y, inverse] = [place(3 * 37), place(37), place(3 * 37), place(3)]
        x.values[37 + i] = bad
        call('rmsNorm', x.at, weight.at, y.at, 4, inverse.at, 3, 37, 1e-5)
        const rows = [...y.values.keys()].filter((j) => Number.isNaN(y.values[j])).map((j) => Math.floor(j / 37))
        expect([...new Set(rows)]).toEqual([1])
      }
  })
})

test('gatherRows takes rows by index, with a weight or without', () => {
  fc.assert(
    fc.property(seed, rows, width, fc.integer({ min: 1, max: 6 }), flag, (seed, rows, width, xRows, weighted) => {
      begin(seed)
      const x = place(xRows * width)
      const index = placeIntegers(rows, () => below(xRows))
      const weight = weighted ? place(rows) : undefined
      const out = place(rows * width)
      const chosen = integers(index)
      const expected = eachOf(rows, width, width, (r, c) =>
        total([(weight ? at(weight.values, r) : 1) * at(x.values, at(chosen, r) * width + c)]),
      )
      const run = (r: number, count: number) =>
        call(
          'gatherRows',
          x.at,
          4,
          xRows,
          row(index, r, 1),
          weight ? row(weight, r, 1) : absent,
          row(out, r, width),
          4,
          count,
          width,
        )
      check(rows, run, new Map([[out, expected]]))
    }),
  )
})

test('gatherGatedRows gathers rows times the gates of their choices', () => {
  fc.assert(
    fc.property(seed, rows, fc.integer({ min: 1, max: 40 }), width, flag, (seed, rows, gates, width, hasEmpty) => {
      begin(seed)
      const x = place(5 * width)
      const [index, choice] = [placeIntegers(rows, () => below(5)), placeIntegers(rows, () => below(gates))]
      const gate = place(gates)
      const occupied = hasEmpty ? place(rows, () => below(2)) : undefined
      const out = place(rows * width)
      const expected = eachOf(rows, width, width, (r, c) => {
        const factor = at(gate.values, at(integers(choice), r)) * (occupied ? at(occupied.values, r) : 1)
        return total([factor * at(x.values, at(integers(index), r) * width + c)])
      })
      const run = (r: number, count: number) =>
        call(
          'gatherGatedRows',
          x.at,
          5,
          row(index, r, 1),
          gate.at,
          gates,
          row(choice, r, 1),
          occupied ? row(occupied, r, 1) : absent,
          row(out, r, width),
          4,
          count,
          width,
        )
      check(rows, run, new Map([[out, expected]]))
    }),
  )
})

/**
 * Assignments [tokens, choices] to rows. With weights, dropped assignments have an invalid slot, and the last row is
 * NaN.
 */
function assignments(tokens: number, choices: number, width: number, weighted: boolean) {
  const rowCount = 7
  const rowsIn = place(rowCount * width, (i) => (weighted && i >= 6 * width ? Number.NaN : random()))
  const weight = weighted ? place(tokens * choices, () => (below(3) === 0 ? 0 : random() || 1)) : undefined
  const slot = placeIntegers(tokens * choices, () => below(weighted ? 6 : 7))
  for (const [i, w] of weight?.values.entries() ?? []) if (w === 0) integers(slot)[i] = [6, 7, -1][i % 3] ?? 6
  return { rowCount, rowsIn, weight, slot }
}

test('combineRows adds the kept rows of a token to the addend, and does not read dropped rows', () => {
  fc.assert(
    fc.property(seed, rows, choices, width, flag, fc.nat(5), (seed, tokens, choices, width, weighted, modes) => {
      begin(seed)
      const mode = modes % 3
      const { rowCount, rowsIn, weight, slot } = assignments(tokens, choices, width, weighted)
      const kept = modes >= 3 ? place(tokens * choices, () => below(2)) : undefined
      const addend = mode > 0 ? place(tokens * width) : undefined
      const out = mode === 1 && addend ? addend : place(tokens * width)
      const expected = eachOf(tokens, width, width, (t, c) => {
        const terms = [addend ? at(addend.values, t * width + c) : 0]
        for (let i = t * choices; i < (t + 1) * choices; i++) {
          const w = (weight ? at(weight.values, i) : 1) * (kept ? at(kept.values, i) : 1)
          if (w !== 0) terms.push(w * at(rowsIn.values, at(integers(slot), i) * width + c))
        }
        return total(terms)
      })
      const run = (t: number, count: number) =>
        call(
          'combineRows',
          rowsIn.at,
          4,
          rowCount,
          row(slot, t, choices),
          weight ? row(weight, t, choices) : absent,
          kept ? row(kept, t, choices) : absent,
          addend ? row(addend, t, width) : absent,
          row(out, t, width),
          count,
          choices,
          width,
        )
      check(tokens, run, new Map([[out, expected]]))
    }),
  )
})

test('rowDots multiplies a token with its kept rows, and does not read dropped rows', () => {
  fc.assert(
    fc.property(seed, rows, choices, width, flag, (seed, tokens, choices, width, weighted) => {
      begin(seed)
      const dy = place(tokens * width)
      const { rowCount, rowsIn, weight: kept, slot } = assignments(tokens, choices, width, weighted)
      const out = place(tokens * choices)
      const expected = each(tokens * choices, (i) => {
        const w = kept ? at(kept.values, i) : 1
        if (w === 0) return [0, 0]
        const [token, from] = [Math.floor(i / choices), at(integers(slot), i)]
        return total(
          Array.from(
            { length: width },
            (_, c) => w * at(dy.values, token * width + c) * at(rowsIn.values, from * width + c),
          ),
        )
      })
      const run = (t: number, count: number) =>
        call(
          'rowDots',
          row(dy, t, width),
          rowsIn.at,
          4,
          rowCount,
          row(slot, t, choices),
          kept ? row(kept, t, choices) : absent,
          row(out, t, choices),
          count,
          choices,
          width,
        )
      check(tokens, run, new Map([[out, expected]]))
    }),
  )
})

describe('rowLargest', () => {
  test('returns the largest element and its first position', () => {
    const columns = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(512, 1027))
    fc.assert(
      fc.property(seed, rows, columns, fc.constantFrom(1, 3, 1000), (seed, rows, columns, distinct) => {
        begin(seed)
        const value = () => [Number.NEGATIVE_INFINITY, -1e30, 3e38][below(distinct)] ?? random()
        const [x, largest, column] = [place(rows * columns, value), place(rows), place(rows)]
        const all = Array.from({ length: rows }, (_, r) => [...x.values.subarray(r * columns, (r + 1) * columns)])
        call('rowLargest', x.at, rows, columns, largest.at, column.at)
        expect([...largest.values]).toEqual(all.map((row) => Math.max(...row)))
        expect([...integers(column)]).toEqual(all.map((row) => row.indexOf(Math.max(...row))))
      }),
    )
  })

  test('a NaN anywhere is the largest element, in its own row only', () => {
    for (let i = 0; i < 37; i++) {
      begin(i)
      const [x, largest, column] = [place(3 * 37), place(3), place(3)]
      x.values[37 + i] = Number.NaN
      call('rowLargest', x.at, 3, 37, largest.at, column.at)
      expect([...largest.values].map(Number.isNaN)).toEqual([false, true, false])
      expect(integers(column)[1]).toBe(i)
    }
  })
})

test.each([7, -1, 2 ** 31 - 1])('row %i of 7 rows stops a kernel', (outside) => {
  begin(1)
  const [rowsIn, out] = [place(28), place(28)]
  const slot = placeIntegers(1, () => outside)
  const stopped = (name: keyof OpFunctions, ...args: number[]) =>
    expect(() => call(name, ...args), name).toThrow(/unreachable/)
  stopped('gatherRows', rowsIn.at, 4, 7, slot.at, absent, out.at, 4, 1, 4)
  stopped('combineRows', rowsIn.at, 4, 7, slot.at, absent, absent, out.at, 1, 1, 4)
  stopped('rowDots', out.at, rowsIn.at, 4, 7, slot.at, absent, out.at, 1, 1, 4)
})
