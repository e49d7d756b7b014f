import { expect, test } from 'vitest'
import { suspectsOf } from './inquiry.ts'

test('a rank without an answer is found through ranks that wait themselves', () => {
  expect(suspectsOf(3, [null, [0], [1, 0], [1]])).toEqual({ ranks: [0], answered: false })
})

test('if all ranks answer, the rank that waits for no other is found', () => {
  expect(suspectsOf(0, [[1], [2], [], [0]])).toEqual({ ranks: [2], answered: true })
})

test('only ranks that the asking rank waits for are suspects, and silent ranks rather than others', () => {
  expect(suspectsOf(0, [[1], [], null])).toEqual({ ranks: [1], answered: true })
  expect(suspectsOf(0, [[1, 2, 3], [], null, null])).toEqual({ ranks: [2, 3], answered: false })
})

test('ranks that wait for each other have no suspect', () => {
  expect(suspectsOf(0, [[1], [0]])).toEqual({ ranks: [], answered: true })
})
