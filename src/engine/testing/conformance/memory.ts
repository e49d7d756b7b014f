/** Conformance of arenas, of ports in them, and of the order of enqueued work. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { multiply } from '../../../core/graph/ops/elementwise.ts'
import { gather } from '../../../core/graph/ops/indexing.ts'
import { input } from '../../../core/graph/tensor.ts'
import { changeRange, RANGE_START, readRange } from '../../contract/arena.ts'
import { RuntimeError } from '../../contract/runtime.ts'
import { addition, type Device, randomFloats, use } from './device.ts'

export function describeMemory(device: Device): void {
  test('an arena is filled with zeros and at least as large as requested', async () => {
    for (const bytes of [4, 1000, 300_004]) {
      const arena = device.runtime.createArena(bytes)
      expect(arena.byteLength).toBeGreaterThanOrEqual(bytes)
      const values = await arena.read(0, Math.floor(bytes / 4))
      expect(values).toHaveLength(Math.floor(bytes / 4))
      expect(values.every((value) => value === 0)).toBe(true)
    }
  })

  test('an arena of more bytes than the limit is refused', () => {
    const { runtime } = device
    expect(() => runtime.createArena(runtime.maxArenaBytes + 4)).toThrow(/invalid arena size: .*expected at most/)
  })

  test('written numbers are read back, at any offset and of any size, and nothing else changes', async () => {
    const size = 5000
    const arena = device.runtime.createArena(size * 4)
    const expected = new Float32Array(size)
    const range = fc
      .tuple(fc.nat({ max: size }), fc.nat({ max: size }))
      .map(([a, b]) => [Math.min(a, b), Math.abs(a - b)])
    await fc.assert(
      fc.asyncProperty(range, range, async ([start = 0, count = 0], [from = 0, length = 0]) => {
        const values = randomFloats(count)
        expected.set(values, start)
        await arena.write(start, values)
        expect((await arena.read(start, count)).slice()).toEqual(values)
        expect((await arena.read(from, length)).slice()).toEqual(expected.slice(from, from + length))
      }),
      { numRuns: 30 },
    )
    expect((await arena.read(0, size)).slice()).toEqual(expected)
  })

  test('writing a range that was read, and changing it in place, keeps all other numbers', async () => {
    const arena = device.runtime.createArena(64)
    await arena.write(0, Float32Array.of(1, 2, 3, 4, 5))
    await arena.write(1, await arena.read(1, 3))
    await changeRange({ arena, start: 1, count: 2 }, (values) => values.fill(7))
    expect([...(await readRange({ arena, start: 0, count: 6 }))]).toEqual([1, 7, 7, 4, 5, 0])
  })

  test('ports are bound to ranges of arenas, next to arrays', () =>
    use(device, addition('float32', 3), async (executable) => {
      const [one, other] = [device.runtime.createArena(1024), device.runtime.createArena(1024)]
      const [at, to] = [RANGE_START, 2 * RANGE_START]
      await one.write(at - 1, Float32Array.of(9, 1, 2, 3, 9, 9, 9, 9))
      const b = Float32Array.of(10, 20, 30)
      const binding = executable.bind({
        x: { arena: one, start: at, count: 3 },
        b,
        y: { arena: other, start: to, count: 3 },
      })
      await binding.run()
      expect([...(await other.read(to - 1, 5))]).toEqual([0, 11, 22, 33, 0])
      expect([...(await one.read(at - 1, 5))]).toEqual([9, 1, 2, 3, 9])
      const y = new Float32Array(3)
      await executable.bind({ x: { arena: other, start: to, count: 3 }, b, y }).run()
      expect([...y]).toEqual([21, 42, 63])
    }))

  test('an output may be the range of an input', () =>
    use(device, addition('float32', 3), async (executable) => {
      const arena = device.runtime.createArena(1024)
      await arena.write(RANGE_START - 1, Float32Array.of(5, 1, 2, 3, 5))
      const state = { arena, start: RANGE_START, count: 3 }
      const binding = executable.bind({ x: state, b: Float32Array.of(1, 1, 1), y: state })
      for (let i = 0; i < 5; i++) await binding.run()
      expect([...(await arena.read(RANGE_START - 1, 5))]).toEqual([5, 6, 7, 8, 5])
    }))

  test('a range may have integers', () => {
    const y = gather(input('table', 'float32', [3, 2]), input('index', 'int32', [2]))
    return use(device, { outputs: { y } }, async (executable) => {
      const arena = device.runtime.createArena(1024)
      await arena.write(RANGE_START, new Float32Array(Int32Array.of(2, 0).buffer))
      const found = new Float32Array(4)
      const table = Float32Array.of(1, 2, 3, 4, 5, 6)
      await executable.bind({ table, index: { arena, start: RANGE_START, count: 2 }, y: found }).run()
      expect([...found]).toEqual([5, 6, 1, 2])
    })
  })

  test('bind refuses a range of another length, or outside its arena, and names the port', () =>
    use(device, addition('float32', 2), (executable) => {
      const arena = device.runtime.createArena(64)
      const x = new Float32Array(2)
      const bind = (start: number, count: number) => () => executable.bind({ x, b: { arena, start, count }, y: x })
      expect(bind(0, 3)).toThrow(RuntimeError)
      expect(bind(0, 3)).toThrow(/port b: 3 numbers .*expected a Float32Array of 2 for float32\[2\]/)
      expect(bind(arena.byteLength / 4 - 1, 2)).toThrow(/port b: .*inside an arena/)
    }))

  test('enqueued work sees the results of work before it, and all results are there after synchronize', async () => {
    const { runtime } = device
    const increment = await runtime.compile(addition('float32', 2))
    const double = await runtime.compile({ outputs: { z: multiply(input('y', 'float32', [2]), 2) } })
    const arena = runtime.createArena(1024)
    const [y, z] = [{ arena, start: RANGE_START, count: 2 }, new Float32Array(2)]
    const incremented = increment.bind({ x: y, b: Float32Array.of(1, 10), y })
    const doubled = double.bind({ y, z })
    await incremented.enqueue()
    await incremented.enqueue()
    await doubled.enqueue()
    await incremented.enqueue()
    await runtime.synchronize()
    expect([...z]).toEqual([4, 40])
    expect([...(await readRange(y))]).toEqual([3, 30])
    await doubled.enqueue()
    await runtime.synchronize()
    await runtime.synchronize()
    expect([...z]).toEqual([6, 60])
    for (const executable of [increment, double]) executable.release()
  })

  test('a read of an arena sees work that was enqueued before', () =>
    use(device, addition('float32', 2), async (executable) => {
      const arena = device.runtime.createArena(64)
      const y = { arena, start: 0, count: 2 }
      await executable.bind({ x: y, b: Float32Array.of(1, 2), y }).enqueue()
      expect([...(await arena.read(0, 2))]).toEqual([1, 2])
      await arena.write(0, Float32Array.of(5, 5))
      await executable.bind({ x: y, b: Float32Array.of(1, 2), y }).run()
      expect([...(await arena.read(0, 2))]).toEqual([6, 7])
    }))
}
