import { describe, expect, it } from 'vitest'
import { readings } from './readings.ts'

const line = (name: string, x: number[], y: (number | null)[]) => ({
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
    const lines = Array.from({ length: 30 }, (_, index) => line(String(index), [0, 100], [index, index]))
    const found = readings(lines, at(40, 3), range, false).map(({ value }) => value)
    expect(found).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
  })

  it('say where each line has its value, which is not where the pointer is', () => {
    const found = readings(
      [line('every 20', [20, 40, 60], [1, 2, 3]), line('every 5', [30, 35, 40], [4, 5, 6])],
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
    const lines = [line('ended', [0, 90], [1, 1]), line('short', [0, 50], [1, 1]), line('gap', [0, 91], [1, null])]
    const found = readings(lines, at(91, 1), range, false)
    expect(found.map((reading) => reading.line.name)).toEqual(['ended'])
  })

  it('measure distances on a logarithmic axis as drawn', () => {
    const lines = [
      line('none', [0], [-1]),
      ...Array.from({ length: 12 }, (_, index) => line(String(index), [0], [1 + index / 100])),
      line('far below', [0], [0.001]),
      line('above', [0], [4]),
    ]
    const found = readings(lines, at(0, 1), range, true).map((reading) => reading.line.name)
    expect(found).toHaveLength(12)
    expect(found).not.toContain('far below')
    expect(found).not.toContain('none')
  })
})
