import fc from 'fast-check'
import { expect, test } from 'vitest'
import { columnNames } from './column-names.ts'

test('a name has the words of its title', () => {
  const titles = ['Per FLOP', 'p (Holm)', 'model.moe.sharedHidden', 'γ', 'c_v', 'Dropped %', '2 top-1']
  expect(columnNames(titles)).toEqual([
    'per_flop',
    'p_holm',
    'model_moe_shared_hidden',
    'gamma',
    'c_v',
    'dropped_percent',
    '_2_top_1',
  ])
})

test('names of any titles are unique and need no quotes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('a', 'A', 'a 2', '', '中'))),
      (titles) => {
        const names = columnNames(titles)
        expect(new Set(names).size).toBe(titles.length)
        for (const name of names) expect(name).toMatch(/^[a-z_][a-z\d_]*$/)
      },
    ),
  )
})
