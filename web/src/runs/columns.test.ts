import { describe, expect, it } from 'vitest'
import { runWith } from '../testing/run.ts'
import { configColumn, fixedColumns, sorted } from './columns.ts'

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
