import fc from 'fast-check'
import { expect, test } from 'vitest'
import { UsageError } from '../../core/errors.ts'
import { changeRange, floatsOf, hostOf, MAX_ARENA_BYTES, readRange } from '../contract/arena.ts'
import { RuntimeError } from '../contract/runtime.ts'
import { createArena } from './cpu-arena.ts'

test('an arena is filled with zeros and at least as large as requested', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1_000_000 }), (bytes) => {
      const arena = createArena(bytes)
      expect(arena.byteLength).toBeGreaterThanOrEqual(bytes)
      expect(arena.byteLength - bytes).toBeLessThan(65536)
      expect(new Float32Array(hostOf(arena).buffer).every((v) => v === 0)).toBe(true)
    }),
    { numRuns: 10 },
  )
})

test('ranges are in floats, and reading a range gives a view of the memory', async () => {
  const arena = createArena(1024)
  const view = await arena.read(10, 2)
  view.set([1, 2])
  expect([...floatsOf({ arena, start: 9, count: 4 })]).toEqual([0, 1, 2, 0])
  expect(await readRange({ arena, start: 10, count: 2 })).toEqual(view)
  expect(view.buffer).toBe(arena.host?.memory.buffer)
  await arena.write(10, view)
  expect([...view]).toEqual([1, 2])
  await arena.write(9, view)
  expect([...floatsOf({ arena, start: 8, count: 4 })]).toEqual([0, 1, 2, 2])
})

test('numbers are changed in place', async () => {
  const arena = createArena(1024)
  const range = { arena, start: 3, count: 2 }
  await changeRange(range, (values) => {
    expect(values.buffer).toBe(arena.host?.buffer)
    values.set([5, 6])
  })
  expect([...floatsOf({ arena, start: 2, count: 4 })]).toEqual([0, 5, 6, 0])
})

test('a range past the end is refused', async () => {
  const arena = createArena(65536)
  expect(() => floatsOf({ arena, start: 65536 / 4 - 1, count: 2 })).toThrow(RangeError)
  await expect(arena.read(65536 / 4 - 1, 2)).rejects.toThrow(RangeError)
  await expect(arena.write(65536 / 4 - 1, new Float32Array(2))).rejects.toThrow(RangeError)
})

test('the memory of a device has no view', () => {
  const device = { ...createArena(64), host: null }
  expect(() => floatsOf({ arena: device, start: 0, count: 1 })).toThrow(/^internal: the memory of a device/)
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
  expect(refused).toThrow(/out of memory: .* an arena of 2\.15 GB: this machine has 1\.07 GB \(use a smaller model/)
})
