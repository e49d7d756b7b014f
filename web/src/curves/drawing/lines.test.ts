import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bandOver, lineOf, linesOf, nameOfSeeds, rangeOfX, rangeOfY, readings } from './lines.ts'

const runs = new Map([
  ['a', { name: 'k1-seed0', config: { k: 1, 'train.seed': 0 } }],
  ['b', { name: 'k1-seed1', config: { k: 1, 'train.seed': 1 } }],
  ['c', { name: 'k2', config: { k: 2, 'train.seed': 0 } }],
  ['t', { name: 'trace', config: {} }],
  ['u', { name: 'other trace', config: {} }],
])
const series = [...runs.keys()].map((run) => ({ run, x: [0, 1], y: [run === 'b' ? 3 : 1, 1], raw: [9, 9], of: 2 }))
const line = (x: number[], y: (number | null)[]) => ({ run: 'a', name: 'a', style: { color: '#000', dash: [] }, x, y })

const styleOf = () => ({ color: '#000000', dash: [] })

describe('lines', () => {
  it('are one per run', () => {
    expect(linesOf(series, runs, false, styleOf).map(({ name }) => name)).toEqual([
      'k1-seed0',
      'k1-seed1',
      'k2',
      'trace',
      'other trace',
    ])
    expect(linesOf(series, runs, false, styleOf)[0]).toMatchObject({ y: [1, 1], raw: [9, 9] })
  })

  it('are one for all seeds of an experiment, and runs without a configuration stay separate', () => {
    const lines = linesOf(series, runs, true, styleOf)
    expect(lines.map(({ name }) => name)).toEqual(['k1 · 2 seeds', 'k2', 'trace', 'other trace'])
    expect(lines[0]).toMatchObject({ y: [2, 1], band: { low: [1, 1], high: [3, 1], count: [2, 2] } })
    expect(lines[1]?.band).toBeUndefined()
    expect(['a', 'b', 'c', 'elsewhere', null].map((run) => lineOf(lines, run)?.name)).toEqual([
      'k1 · 2 seeds',
      'k1 · 2 seeds',
      'k2',
      undefined,
      undefined,
    ])
  })

  it('over seeds are named by what the names of the runs share', () => {
    expect(nameOfSeeds(['moe/s1', 'moe/s2'])).toBe('moe · 2 seeds')
    expect(nameOfSeeds(['one', 'two'])).toBe('one · 2 seeds')
    expect(nameOfSeeds(['quick/top-1 (2x), seed 1', 'quick/top-1 (2x), seed 10'])).toBe('quick/top-1 (2x) · 2 seeds')
    expect(nameOfSeeds(['top-1, seed 1, lr 0.1', 'top-1, seed 12, lr 0.1'])).toBe('top-1, lr 0.1 · 2 seeds')
    expect(nameOfSeeds(['aaa', 'aa'])).toBe('aa · 2 seeds')
  })
})

describe('ranges', () => {
  it('of x reach from the first to the last point of all lines', () => {
    expect(rangeOfX([line([1, 5], [0, 0]), line([0, 2], [0, 0]), line([], [])])).toEqual({ min: 0, max: 5 })
    expect(rangeOfX([line([1, 100], [0, 0])])).toEqual({ min: 0, max: 100 })
    expect(rangeOfX([line([0], [0])])).toEqual({ min: -0.5, max: 0.5 })
    // A single evaluation is at the end of a training, so the axis begins at 0.
    expect(rangeOfX([line([400], [0]), line([400], [0])])).toEqual({ min: 0, max: 408 })
    // A dot keeps a distance from the edges.
    expect(rangeOfX([line([300], [0]), line([300, 600], [0, 0])])).toEqual({ min: 0, max: 612 })
    expect(rangeOfX([line([900], [0]), line([900, 1000], [0, 0])])).toEqual({ min: 898, max: 1002 })
    expect(rangeOfX([])).toBeNull()
  })

  it('of y contain the visible values, with a margin', () => {
    const lines = [line([0, 1, 2], [100, 1, null]), line([1, 2], [3, 2])]
    const range = rangeOfY(lines, { min: 1, max: 2 }, false)
    expect(range?.min).toBeCloseTo(0.88)
    expect(range?.max).toBeCloseTo(3.12)
  })

  it('of y contain raw values that are near, but not a spike', () => {
    const x = { min: 0, max: 9 }
    const raw = (values: number[]) => [{ ...line([0, 1, 2], [0, 100, 0]), raw: values }]
    // Margins of 6 % around 0 to 100, −10 to 120, 0 to 125.
    expect(rangeOfY(raw([0, 100, 50]), x, false)).toEqual({ min: -6, max: 106 })
    expect(rangeOfY(raw([-10, 120, 0]), x, false)).toEqual({ min: -10 - 7.8, max: 120 + 7.8 })
    expect(rangeOfY(raw([0, 1e6, 0]), x, false)).toEqual({ min: -7.5, max: 132.5 })
    const crowd = Array.from({ length: 41 }, () => raw([0, 120, 0])).flat()
    expect(rangeOfY(crowd, x, false)).toEqual({ min: -6, max: 106 })
  })

  it('of a logarithmic y leave out values that are not positive', () => {
    const range = rangeOfY([line([0, 1, 2, 3], [-1, 0, 1, 100])], { min: 0, max: 3 }, true)
    expect(range?.min).toBeGreaterThan(0.5)
    expect(range?.max).toBeLessThan(200)
    expect(rangeOfY([line([0], [-1])], { min: 0, max: 3 }, true)).toBeNull()
  })
})

describe('a band over seeds', () => {
  it('has mean, minimum and maximum, interpolated between points', () => {
    const { x, y, band } = bandOver([
      { x: [0, 10], y: [0, 10] },
      { x: [0, 5, 10], y: [2, 9, 14] },
    ])
    expect(x).toEqual([0, 5, 10])
    expect(y).toEqual([1, 7, 12])
    expect(band).toEqual({ low: [0, 5, 10], high: [2, 9, 14], count: [2, 2, 2] })
  })

  it('continues with the runs that are long enough', () => {
    const { y, band } = bandOver([
      { x: [1, 2], y: [4, 4] },
      { x: [1, 2, 3], y: [6, 6, 6] },
    ])
    expect(y).toEqual([5, 5, 6])
    expect(band.count).toEqual([2, 2, 1])
  })

  it('does not interpolate across a missing value', () => {
    const { y } = bandOver([
      { x: [0, 2, 4], y: [1, null, 1] },
      { x: [1, 2, 3], y: [5, 5, null] },
    ])
    expect(y).toEqual([1, 5, 5, null, 1])
  })

  it('of no runs is empty', () => {
    expect(bandOver([]).x).toEqual([])
    expect(bandOver([{ x: [], y: [] }]).x).toEqual([])
  })

  it('contains its mean and every point of every run', () => {
    const run = fc
      .array(fc.tuple(fc.integer({ min: 0, max: 99 }), fc.double({ min: -9, max: 9, noNaN: true })), { minLength: 1 })
      .map((points) => {
        const unique = new Map(points)
        const x = [...unique.keys()].sort((one, other) => one - other)
        return { x, y: x.map((place) => unique.get(place) ?? 0) }
      })
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 4 }), (runs) => {
        const { x, y, band } = bandOver(runs)
        x.forEach((place, i) => {
          const [low, mean, high] = [band.low[i] as number, y[i] as number, band.high[i] as number]
          expect(mean).toBeGreaterThanOrEqual(low - 1e-9)
          expect(mean).toBeLessThanOrEqual(high + 1e-9)
          for (const each of runs) {
            const at = each.x.indexOf(place)
            if (at < 0) continue
            expect(each.y[at]).toBeGreaterThanOrEqual(low)
            expect(each.y[at]).toBeLessThanOrEqual(high)
          }
        })
      }),
    )
  })

  it('has a limited number of points', () => {
    const x = Array.from({ length: 10_000 }, (_, index) => index)
    const band = bandOver([{ x, y: x }])
    expect(band.x.length).toBeLessThanOrEqual(3001)
    expect(band.x.at(-1)).toBe(9999)
  })
})

const named = (name: string, x: number[], y: (number | null)[]) => ({
  run: name,
  name,
  style: { color: '#000', dash: [] },
  x,
  y,
})
const at = (x: number, y: number) => ({ x, y, left: 0, top: 0 })
const range = { min: 0, max: 100 }

describe('readings at the pointer', () => {
  it('come from the nearest lines, from the upper to the lower', () => {
    const lines = Array.from({ length: 30 }, (_, index) => named(String(index), [0, 100], [index, index]))
    const found = readings(lines, at(40, 3), range, false).map(({ value }) => value)
    expect(found).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
  })

  it('say where each line has its value, which is not where the pointer is', () => {
    const found = readings(
      [named('every 20', [20, 40, 60], [1, 2, 3]), named('every 5', [30, 35, 40], [4, 5, 6])],
      at(36, 2),
      range,
      false,
    )
    expect(found.map((reading) => [reading.line.name, reading.x, reading.value])).toEqual([
      ['every 5', 35, 5],
      ['every 20', 40, 2],
    ])
  })

  it('leave out lines that end before the pointer, and points without a value', () => {
    const lines = [named('ended', [0, 90], [1, 1]), named('short', [0, 50], [1, 1]), named('gap', [0, 91], [1, null])]
    const found = readings(lines, at(91, 1), range, false)
    expect(found.map((reading) => reading.line.name)).toEqual(['ended'])
  })

  it('measure distances on a logarithmic axis as drawn', () => {
    const lines = [
      named('none', [0], [-1]),
      ...Array.from({ length: 12 }, (_, index) => named(String(index), [0], [1 + index / 100])),
      named('far below', [0], [0.001]),
      named('above', [0], [4]),
    ]
    const found = readings(lines, at(0, 1), range, true).map((reading) => reading.line.name)
    expect(found).toHaveLength(12)
    expect(found).not.toContain('far below')
    expect(found).not.toContain('none')
  })
})
