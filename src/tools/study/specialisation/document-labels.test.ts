import { expect, test } from 'vitest'
import { partiesOf, periodsOf } from './document-labels.ts'

const years = (from: number, to: number, step = 1) =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => ({ metadata: { year: from + i * step } }))
const parties = (names: readonly (string | undefined)[]) =>
  names.map((party) => (party === undefined ? {} : { metadata: { party } }))

test('years are grouped into about ten spans of a round width', () => {
  const { names, of } = periodsOf(years(1790, 2021))
  expect(names).toHaveLength(10)
  expect(names[0]).toBe('1775–1799')
  expect(names[9]).toBe('2000–2024')
  expect([of[9], of[10]]).toEqual([0, 1])
  expect(periodsOf(years(1, 10)).names).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9', '10'])
})

test('a span without a document is omitted', () => {
  const { names, of } = periodsOf([{ metadata: { year: 1900 } }, { metadata: { year: 1999 } }])
  expect(names).toEqual(['1900–1909', '1990–1999'])
  expect([...of]).toEqual([0, 1])
})

test('a document without a year or party has no label', () => {
  const documents = [
    { metadata: { year: '1901', party: 'Whig' } },
    { metadata: { year: 'unknown', party: 7 } },
    {},
    { metadata: { year: 1901, party: 'Whig' } },
  ]
  expect(periodsOf(documents)).toEqual({ names: ['1901'], of: Int32Array.of(0, -1, -1, 0) })
  expect(partiesOf(documents)).toEqual({ names: ['Whig'], of: Int32Array.of(0, -1, -1, 0) })
  expect(periodsOf([{}])).toEqual({ names: [], of: Int32Array.of(-1) })
  expect(partiesOf([{}])).toEqual({ names: [], of: Int32Array.of(-1) })
})

test('parties with few documents are merged into one, at the end', () => {
  const names = ['Whig', ...Array(3).fill('Federalist'), 'Bull Moose', ...Array(5).fill('Republican')]
  const { names: found, of } = partiesOf(parties(names))
  expect(found).toEqual(['Republican', 'Federalist', 'other'])
  expect([...of]).toEqual([2, 1, 1, 1, 2, 0, 0, 0, 0, 0])
})
