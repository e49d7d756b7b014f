import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leastGrowth } from '../../../../test/support/memory-growth.ts'
import { type Arena, type ArenaRange, floatsOf, hostOf } from '../../contract/arena.ts'
import type { AdamwSettings, ArenaKernels, Gate } from '../../contract/arena-kernels.ts'
import { createArena } from '../../native/cpu-arena.ts'
import { createArenaKernels } from './arena-kernels.ts'

const SIZES = [0, 1, 3, 4, 127, 128 * 1024 + 5]
const settings: AdamwSettings = {
  first: 0.07,
  second: 0.04,
  beta1: 0.9,
  beta2: 0.95,
  size: 0.01,
  correction: 2.5,
  epsilon: 1e-6,
}

const open: Gate = { norm: 1, scale: 1, isOpen: true }

const seed = Number(process.env.CHOIR_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.info(`kernels: CHOIR_TEST_SEED=${seed}`)
let state = seed
/** A random number, uniform in [-1, 1). */
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 31 - 1
}
function fill(values: Float32Array, make = random): void {
  for (let i = 0; i < values.length; i++) values[i] = make()
}

const all = (arena: Arena) => floatsOf({ arena, start: 0, count: arena.byteLength / 4 })

/** The sums that a gate adds up. */
async function sumsOfSquares(kernels: ArenaKernels, ranges: readonly ArenaRange[]): Promise<readonly number[]> {
  let found: readonly number[] = []
  const all = async (sums: readonly number[]) => {
    found = sums
    return []
  }
  await kernels.gate(ranges, { clip: 0, all })
  return found
}

let one: ArenaKernels
let two: ArenaKernels
let three: ArenaKernels
beforeAll(async () => {
  one = await createArenaKernels(1)
  two = await createArenaKernels(2)
  three = await createArenaKernels(3)
})
afterAll(async () => {
  await Promise.all([one, two, three].map((kernels) => kernels.close()))
})

/** An arena that ends with p, g, m, v of `count` floats, each followed by a guard of 7 floats. */
function quartet(count: number, floats = 4 * (count + 7)) {
  // Only written pages are committed, so 4 GiB fit on a small machine too.
  const arena = createArena(floats * 4, Number.POSITIVE_INFINITY)
  const at = (i: number) => floats - (4 - i) * (count + 7)
  const view = (i: number) => floatsOf({ arena, start: at(i), count })
  const arrays = { p: view(0), g: view(1), m: view(2), v: view(3) }
  fill(arrays.p)
  fill(arrays.g)
  fill(arrays.m)
  fill(arrays.v, () => Math.abs(random()))
  const range = { arena, p: at(0), g: at(1), m: at(2), v: at(3), count, keep: 0.99 }
  return { range, arrays, all: floatsOf({ arena, start: at(0), count: floats - at(0) }) }
}

type Arrays<T> = Readonly<Record<'p' | 'g' | 'm' | 'v', T>>

/** The update of one element, in float64. */
function update64({ p, g, m, v }: Arrays<number>, keep: number): Arrays<number> {
  const { first, second, beta1, beta2, size, correction, epsilon } = settings
  const newM = beta1 * m + first * g
  const newV = beta2 * v + second * g ** 2
  return { p: keep * p - (size * newM) / (correction * Math.sqrt(newV) + epsilon), g, m: newM, v: newV }
}

function update64All({ p, g, m, v }: Arrays<Float32Array>, keep: number): Arrays<number>[] {
  return Array.from(p, (value, i) => update64({ p: value, g: g[i] ?? 0, m: m[i] ?? 0, v: v[i] ?? 0 }, keep))
}

function expectClose(actual: Arrays<Float32Array>, expected: readonly Arrays<number>[]): void {
  for (const name of ['p', 'g', 'm', 'v'] as const)
    expect(
      largestError(
        actual[name],
        Float64Array.from(expected, (element) => element[name]),
      ),
    ).toBeLessThan(1e-6)
}

/** The largest absolute difference of values that are about 1. */
const largestError = (actual: Float32Array, expected: Float64Array) =>
  actual.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (expected[i] as number))), 0)

const same = (a: Float32Array, b: Float32Array) =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))

const squares = (values: Float32Array) => values.reduce((total, x) => total + x * x, 0)

describe('adamw', () => {
  test.each(SIZES)('updates %i elements like a float64 loop, and nothing else', async (count) => {
    const { range, arrays, all } = quartet(count)
    const guards = Array.from({ length: 4 }, (_, i) => all.subarray(i * (count + 7) + count, (i + 1) * (count + 7)))
    for (const guard of guards) guard.fill(123)
    const expected = update64All(arrays, range.keep)
    await two.adamw([range], settings, open)
    expectClose(arrays, expected)
    expect(guards.flatMap((guard) => [...guard])).toEqual(Array(28).fill(123))
  })

  test('gives the same bits for any number of threads, over several ranges and arenas', async () => {
    const [a, b] = [quartet(200_003), quartet(517)]
    const before = [a.all.slice(), b.all.slice()] as const
    const ranges = [a.range, { ...b.range, keep: 1 }]
    await one.adamw(ranges, settings, open)
    const expected = [a.all.slice(), b.all.slice()] as const
    expect(same(expected[0], before[0]) || same(expected[1], before[1])).toBe(false)
    for (const kernels of [two, three]) {
      a.all.set(before[0])
      b.all.set(before[1])
      await kernels.adamw(ranges, settings, open)
      expect(same(a.all, expected[0]) && same(b.all, expected[1])).toBe(true)
    }
  })

  test('a NaN gradient affects every array at its own element only', async () => {
    const { range, arrays } = quartet(37)
    arrays.g[17] = Number.NaN
    arrays.g[36] = Number.NaN
    await two.adamw([range], settings, open)
    for (const name of ['p', 'm', 'v'] as const)
      expect([...arrays[name].keys()].filter((i) => Number.isNaN(arrays[name][i]))).toEqual([17, 36])
  })

  test.each([0, 1, 1e-30])(
    'an open gate keeps every array finite, however large gradients are: clip %d',
    async (clip) => {
      for (const exponent of [10, 15, 18, 19, 20, 23, 30, 38])
        for (const digits of [1, 1.8, 3.3]) {
          const { range, arrays, all } = quartet(37)
          arrays.g.fill(0).fill(digits * 10 ** exponent, 5, 6)
          const before = all.slice()
          const gradients = { arena: range.arena, start: range.g, count: range.count }
          const gate = await two.gate([gradients], { clip })
          // The square of the only gradient, in float32.
          expect(gate.isOpen).toBe(Math.fround((arrays.g[5] as number) ** 2) < Number.POSITIVE_INFINITY)
          await two.adamw([range], settings, gate)
          expect(all.every(Number.isFinite)).toBe(true)
          expect(same(all, before)).toBe(!gate.isOpen)
        }
    },
  )

  test('works beyond 2 GiB and up to the last byte of 4 GiB', async () => {
    const floats = 2 ** 30
    const { range, arrays } = quartet(23, floats)
    const last = { ...range, v: floats - 23 }
    const { arena } = range
    const v = floatsOf({ arena, start: last.v, count: 23 })
    fill(v, () => Math.abs(random()))
    const expected = update64All({ ...arrays, v }, range.keep)
    await two.adamw([last], settings, open)
    expectClose({ ...arrays, v }, expected)
    const [sum] = await sumsOfSquares(two, [{ arena, start: last.v, count: 23 }])
    expect(sum).toBeCloseTo(squares(v), 12)
  })

  test('a range outside its arena is refused before anything is written', async () => {
    const { range, all } = quartet(100)
    const before = all.slice()
    await expect(two.adamw([range, { ...range, v: 2 ** 30 }], settings, open)).rejects.toThrow(
      /^internal: .* are not inside an arena/,
    )
    expect(same(all, before)).toBe(true)
  })
})

describe('sumsOfSquares', () => {
  test.each(SIZES)('of %i elements equals the sum of a float64 loop', async (count) => {
    const arena = createArena((count + 8) * 4)
    all(arena).fill(1e9)
    const values = floatsOf({ arena, start: 4, count })
    fill(values)
    const expected = squares(values)
    const [sum = 0] = await sumsOfSquares(two, [{ arena, start: 4, count }])
    expect(Math.abs(sum - expected)).toBeLessThanOrEqual(1e-12 * expected)
  })

  test('each range has its own sum, with the same bits for any number of threads', async () => {
    const count = 700_001
    const arena = createArena(count * 4)
    fill(all(arena))
    const ranges = [
      { arena, start: 0, count: 5 },
      { arena, start: 16, count: count - 16 },
    ]
    const sums = await sumsOfSquares(one, ranges)
    expect(sums[0]).toBeCloseTo(squares(floatsOf({ arena, start: 0, count: 5 })), 10)
    for (const kernels of [two, three, two]) expect(await sumsOfSquares(kernels, ranges)).toEqual(sums)
    for (const [i, range] of ranges.entries()) expect(await sumsOfSquares(two, [range])).toEqual([sums[i]])
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'is not finite if any element is %d',
    async (bad) => {
      const count = 131
      const arena = createArena(count * 4)
      for (let i = 0; i < count; i++) {
        all(arena).fill(1)
        floatsOf({ arena, start: i, count: 1 })[0] = bad
        const [sum] = await sumsOfSquares(two, [{ arena, start: 0, count }])
        expect(Number.isFinite(sum)).toBe(false)
      }
    },
  )

  test('neither overflows nor underflows where float32 squares would', async () => {
    const arena = createArena(64)
    for (const size of [2 ** 100, 2 ** -100]) {
      floatsOf({ arena, start: 0, count: 11 }).fill(size)
      expect(await sumsOfSquares(two, [{ arena, start: 0, count: 11 }])).toEqual([11 * size ** 2])
    }
  })
})

test('add adds element by element, for any length and number of threads', async () => {
  for (const count of [1, 7, 8, 131, 70_001]) {
    const arena = createArena(2 * (count + 4) * 4)
    fill(all(arena))
    const [to, from] = [4, count + 8]
    const before = all(arena).slice()
    const expected = before.map((value, i) =>
      i >= to && i < to + count ? value + (before[i - to + from] ?? 0) : value,
    )
    for (const kernels of [one, two, three]) {
      all(arena).set(before)
      await kernels.add([{ arena, to, from, count }])
      expect(all(arena)).toEqual(expected)
    }
  }
})

describe('scatterAddRows', () => {
  test.each([1, 3, 4, 31, 64, 130])(
    'adds rows of width %i, also to repeated indices, on any number of threads',
    async (width) => {
      const [tableRows, rowCount] = [7, 50]
      const [table, rows] = [16, 16 + tableRows * width]
      const indices = rows + rowCount * width
      const arena = createArena((indices + rowCount) * 4)
      const views = {
        table: floatsOf({ arena, start: table, count: tableRows * width }),
        rows: floatsOf({ arena, start: rows, count: rowCount * width }),
      }
      const chosen = new Int32Array(hostOf(arena).buffer, indices * 4, rowCount)
      for (let r = 0; r < rowCount; r++) chosen[r] = Math.floor(Math.abs(random()) * tableRows)
      fill(views.table)
      fill(views.rows)
      const before = views.table.slice()
      const expected = Float64Array.from(before, (value, i) => {
        const [row, column] = [Math.floor(i / width), i % width]
        return chosen.reduce((sum, to, r) => (to === row ? sum + (views.rows[r * width + column] ?? 0) : sum), value)
      })
      const scatter = { arena, table, tableRows, rows, indices, rowCount, width }
      await one.scatterAddRows(scatter)
      expect(largestError(views.table, expected)).toBeLessThan(1e-5)
      const first = views.table.slice()
      views.table.set(before)
      await three.scatterAddRows(scatter)
      expect(same(views.table, first)).toBe(true)
    },
  )

  // The last number of rows is so large that another thread makes the call.
  test.each([1, 40_000])(
    'an index outside the table, in %i rows, fails this call and every later one',
    async (rowCount) => {
      const kernels = await createArenaKernels(1)
      const indices = 8 + 4 * rowCount
      const arena = createArena(4 * (indices + rowCount))
      new Int32Array(hostOf(arena).buffer, 4 * indices, 1)[0] = 2
      const scatter = { arena, table: 0, tableRows: 2, rows: 8, indices, rowCount, width: 4 }
      await expect(kernels.scatterAddRows(scatter)).rejects.toThrow(/^internal: a kernel failed: unreachable/)
      await expect(sumsOfSquares(kernels, [{ arena, start: 0, count: 1 }])).rejects.toThrow(/unreachable/)
      await kernels.close()
    },
  )
})

describe('threads', () => {
  test('overlapping calls all return their own results', async () => {
    const arena = createArena(400)
    all(arena).set(Array.from({ length: 100 }, (_, i) => i))
    const sums = await Promise.all(
      Array.from({ length: 300 }, (_, i) => sumsOfSquares(two, [{ arena, start: i % 100, count: 1 }])),
    )
    expect(sums.flat()).toEqual(Array.from({ length: 300 }, (_, i) => (i % 100) ** 2))
  })

  test('few elements give the same bits on this thread and, if a call is in progress, on other threads', async () => {
    const { range, all: values } = quartet(5003)
    const before = values.slice()
    await two.adamw([range], settings, open)
    const here = values.slice()
    values.set(before)
    const long = createArena(2 ** 22)
    await Promise.all([
      sumsOfSquares(two, [{ arena: long, start: 0, count: 2 ** 20 }]),
      two.adamw([range], settings, open),
    ])
    expect(same(here, before)).toBe(false)
    expect(same(values, here)).toBe(true)
  })

  test('the event loop runs while a kernel runs', async () => {
    const arena = createArena(64 * 2 ** 20)
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    const ranges = Array.from({ length: 20 }, () => ({ arena, start: 0, count: 2 ** 24 }))
    await sumsOfSquares(two, ranges)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(2)
  })

  test('hundreds of calls and arenas do not leak memory', async () => {
    const { range } = quartet(10_000)
    const { arena } = range
    const round = async () => {
      for (let i = 0; i < 200; i++) {
        await two.adamw([range], settings, open)
        await sumsOfSquares(two, [{ arena, start: 0, count: 40_000 }])
      }
    }
    await round()
    await round()
    expect(await leastGrowth(round, 16)).toBeLessThan(16)
  })

  test('closing waits for a running kernel; a later call is refused; closing again does nothing', async () => {
    const kernels = await createArenaKernels(2)
    const arena = createArena(2 ** 22)
    all(arena).fill(1)
    const running = sumsOfSquares(kernels, [{ arena, start: 0, count: 2 ** 20 }])
    await kernels.close()
    expect(await running).toEqual([2 ** 20])
    await expect(sumsOfSquares(kernels, [{ arena, start: 0, count: 1 }])).rejects.toThrow(/closed/)
    await kernels.close()
  })

  test('a process ends without closing the kernels', () => {
    const module = new URL('../../../../dist/engine/cpu/wasm/arena-kernels.js', import.meta.url)
    const code = `const { createArenaKernels } = await import(${JSON.stringify(module.href)})
      await createArenaKernels(2); console.log('ended')`
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { timeout: 10_000 })
    expect(output.toString()).toBe('ended\n')
  })

  test('time is reported by kernel', async () => {
    const kernels = await createArenaKernels(1)
    const arena = createArena(4)
    for (let i = 0; i < 3; i++) await sumsOfSquares(kernels, [{ arena, start: 0, count: 1 }])
    expect(kernels.profile()).toMatchObject([{ kind: 'sumOfSquares', runs: 3 }])
    await kernels.close()
  })
})
