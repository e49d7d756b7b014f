import fc from 'fast-check'
import { expect, test } from 'vitest'
import { columnSums, entropy, mergeRows, mutualInformation, rowSums, type Table } from './information.ts'

const table = (cells: readonly (readonly number[])[]): Table => ({
  rows: cells.length,
  columns: (cells[0] as readonly number[]).length,
  counts: Float64Array.from(cells.flat()),
})
const cells = ({ rows, columns, counts }: Table) =>
  Array.from({ length: rows }, (_, r) => [...counts.subarray(r * columns, (r + 1) * columns)])
const transposed = (t: Table) =>
  table(Array.from({ length: t.columns }, (_, c) => cells(t).map((row) => row[c] as number)))

const count = fc.integer({ min: 0, max: 50 })
const anyTable = fc
  .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }))
  .chain(([rows, columns]) =>
    fc.array(fc.array(count, { minLength: columns, maxLength: columns }), { minLength: rows, maxLength: rows }),
  )
  .map(table)

test('entropy and information agree with tables worked by hand', () => {
  // p = 1/4 and 3/4: 1/4 ln 4 + 3/4 ln 4/3 = ln 4 − 3/4 ln 3.
  expect(entropy([5, 15])).toBeCloseTo(Math.log(4) - 0.75 * Math.log(3), 12)
  // Cover and Thomas, example 2.2.1: H(X) = 7/4 bits, H(X|Y) = 11/8 bits, I(X; Y) = 3/8 bits.
  const joint = table([
    [4, 2, 1, 1],
    [2, 4, 1, 1],
    [2, 2, 2, 2],
    [8, 0, 0, 0],
  ])
  expect(entropy(columnSums(joint)) / Math.LN2).toBeCloseTo(7 / 4, 12)
  expect(entropy(rowSums(joint)) / Math.LN2).toBeCloseTo(2, 12)
  expect(mutualInformation(joint) / Math.LN2).toBeCloseTo(3 / 8, 12)
})

test('an empty table has no information', () => {
  expect(entropy([0, 0])).toBe(0)
  expect(mutualInformation(table([[0, 0]]))).toBe(0)
})

test('independent labels share no information', () => {
  const labels = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(labels, labels, (inRow, inColumn) => {
      expect(mutualInformation(table(inRow.map((r) => inColumn.map((c) => r * c))))).toBeLessThan(1e-12)
    }),
  )
})

test('labels that determine each other share their entropy', () => {
  fc.assert(
    fc.property(fc.array(count, { minLength: 1, maxLength: 8 }), (counts) => {
      const diagonal = table(counts.map((n, r) => counts.map((_, c) => (r === c ? n : 0))))
      expect(mutualInformation(diagonal)).toBeCloseTo(entropy(counts), 12)
    }),
  )
})

test('information is symmetric, at most either entropy, and H(row) + H(column) − H(pair)', () => {
  fc.assert(
    fc.property(anyTable, (t) => {
      const nats = mutualInformation(t)
      const [row, column] = [entropy(rowSums(t)), entropy(columnSums(t))]
      expect(mutualInformation(transposed(t))).toBeCloseTo(nats, 12)
      expect(nats).toBeLessThanOrEqual(Math.min(row, column) + 1e-12)
      expect(nats).toBeCloseTo(row + column - entropy(t.counts), 10)
    }),
  )
})

test('the order of labels does not matter', () => {
  fc.assert(
    fc.property(
      anyTable.chain((t) =>
        fc.tuple(fc.constant(t), fc.shuffledSubarray(cells(t), { minLength: t.rows, maxLength: t.rows })),
      ),
      ([t, permuted]) => {
        expect(mutualInformation(table(permuted))).toBeCloseTo(mutualInformation(t), 12)
      },
    ),
  )
})

test('merging rows keeps the columns and adds no information', () => {
  fc.assert(
    fc.property(anyTable, fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 6, maxLength: 6 }), (t, label) => {
      const merged = mergeRows(t, label, 3)
      expect([...columnSums(merged)]).toEqual([...columnSums(t)])
      expect(mutualInformation(merged)).toBeLessThanOrEqual(mutualInformation(t) + 1e-12)
    }),
  )
})

test('rows without a label are omitted', () => {
  const t = table([
    [1, 2],
    [3, 4],
    [5, 6],
  ])
  expect(cells(mergeRows(t, [1, -1, 1], 2))).toEqual([
    [0, 0],
    [6, 8],
  ])
})
