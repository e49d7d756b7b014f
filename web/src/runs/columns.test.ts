import { describe, expect, it } from 'vitest'
import { runWith } from '../testing/run.ts'
import { configColumn, fixedColumns, fixedColumnsFor, sorted } from './columns.ts'

const runs = [
  runWith({ name: 'k10', loss: 3, config: { k: 10 } }),
  runWith({ name: 'k2', loss: null, config: { k: 2 } }),
  runWith({ name: 'k1', loss: 4, config: {} }),
]
const column = (id: string) => fixedColumns.find((each) => each.id === id) ?? configColumn(id)
const order = (id: string, descending: boolean) => sorted(runs, column(id), descending).map(({ name }) => name)

describe('sorting', () => {
  it('compares numbers in names by value', () => {
    expect(order('name', false)).toEqual(['k1', 'k2', 'k10'])
    expect(order('name', true)).toEqual(['k10', 'k2', 'k1'])
  })

  it('puts runs without a value last in both directions', () => {
    expect(order('loss', false)).toEqual(['k10', 'k1', 'k2'])
    expect(order('loss', true)).toEqual(['k1', 'k10', 'k2'])
    expect(order('k', true)).toEqual(['k10', 'k2', 'k1'])
  })
})

it('names held-out losses of a part of the text so, in the head and with the number of tokens in the cell', () => {
  const heldOut = (...some: (typeof runs)[number][]) => fixedColumnsFor(some).find(({ id }) => id === 'held_out')
  const [whole, part] = [runWith({ heldOutLoss: 5.331 }), runWith({ heldOutLoss: 5.413, heldOutPart: 1256 })]
  expect(heldOut(whole)?.title).toBe('Held-out')
  expect(heldOut(whole, part)?.title).toBe('Held-out, part')
  expect(heldOut(part)?.text?.(part)).toBe('5.413')
  const widthOf = (some: typeof runs) => fixedColumnsFor(some).reduce((sum, { width }) => sum + width, 0)
  expect(widthOf([part])).toBe(widthOf([whole]))
  expect(heldOut(part)?.hint?.(part)).toMatch(/^5\.413 nats .* on 1,256 tokens only .* report of a study use all/)
  expect(heldOut(part)?.hint?.(whole)).not.toContain('only')
})
