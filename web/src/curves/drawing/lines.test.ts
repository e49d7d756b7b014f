import { describe, expect, it } from 'vitest'
import { lineOf, linesOf, nameOfSeeds, nearest, rangeOfX, rangeOfY } from './lines.ts'

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

describe('nearest', () => {
  it.each([
    [-5, 0],
    [1, 0],
    [2.9, 1],
    [3.1, 1],
    [9, 2],
  ])('finds the index of the value nearest to %d', (x, index) => expect(nearest([0, 3, 6], x)).toBe(index))

  it('returns -1 without values', () => expect(nearest([], 1)).toBe(-1))
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
