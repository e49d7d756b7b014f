import { expect, test } from 'vitest'
import { processName, rankName } from './rank-name.ts'

test('a rank is named by its known parts', () => {
  expect(rankName({ rank: 2, host: 'node7', pid: 4711 })).toBe('rank 2 (node7, PID 4711)')
  expect(rankName({ rank: 2, host: 'node7', pid: 4711 }, 4)).toBe('rank 2 of 4 (node7, PID 4711)')
  expect(rankName({ rank: 0 })).toBe('rank 0')
  expect(rankName({ rank: 0 }, 2)).toBe('rank 0 of 2')
  expect(rankName({ rank: 0, host: 'b' })).toBe('rank 0 (b)')
  expect(rankName({ host: 'b', pid: 12 })).toBe('a rank (b, PID 12)')
  expect(rankName({ pid: 12 })).toBe('a rank (PID 12)')
})

test('an unknown process has no name', () => {
  expect([processName({}), processName({ host: '' })]).toEqual(['', ''])
})
