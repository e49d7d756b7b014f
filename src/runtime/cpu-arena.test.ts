import fc from 'fast-check'
import { expect, test } from 'vitest'
import { UsageError } from '../errors.ts'
import { MAX_ARENA_BYTES } from './arena.ts'
import { RuntimeError } from './contract.ts'
import { createArena } from './cpu-arena.ts'

test('an arena is filled with zeros and at least as large as requested', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1_000_000 }), (bytes) => {
      const arena = createArena(bytes)
      expect(arena.byteLength).toBeGreaterThanOrEqual(bytes)
      expect(arena.byteLength - bytes).toBeLessThan(65536)
      expect(arena.floats().every((v) => v === 0)).toBe(true)
    }),
    { numRuns: 10 },
  )
})

test('views count in floats and share their memory', () => {
  const arena = createArena(1024)
  arena.floats(10, 2).set([1, 2])
  expect([...arena.floats(9, 4)]).toEqual([0, 1, 2, 0])
  expect(arena.floats(10).length).toBe(arena.byteLength / 4 - 10)
  expect(arena.floats().buffer).toBe(arena.memory.buffer)
})

test('a view past the end is refused', () => {
  const arena = createArena(65536)
  expect(() => arena.floats(65536 / 4 - 1, 2)).toThrow(RangeError)
})

test('an arena beyond 4 GiB is refused with a hint to use several', () => {
  for (const bytes of [MAX_ARENA_BYTES + 1, -1, Number.NaN]) {
    expect(() => createArena(bytes)).toThrow(UsageError)
    expect(() => createArena(bytes)).toThrow(/use several arenas/)
  }
})

test('an arena larger than the available memory is refused as out of memory', () => {
  const refused = () => createArena(2 * 2 ** 30, 2 ** 30)
  expect(refused).toThrow(RuntimeError)
  expect(refused).toThrow(/out of memory: .* an arena of 2\.00 GiB: this machine has 1\.00 GiB/)
})
