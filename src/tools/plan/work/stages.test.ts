import fc from 'fast-check'
import { expect, test } from 'vitest'
import { stageRanges } from './stages.ts'

const sizes = (layers: number, stages: number) => stageRanges(layers, stages).map(({ from, to }) => to - from)

test('stages share all layers in order, and differ by one layer at most', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 0, max: 200 }), (stages, more) => {
      const layers = stages + more
      const ranges = stageRanges(layers, stages)
      expect(ranges.map(({ from }) => from)).toEqual([0, ...ranges.slice(0, -1).map(({ to }) => to)])
      expect(ranges.at(-1)?.to).toBe(layers)
      expect(Math.max(...sizes(layers, stages)) - Math.min(...sizes(layers, stages))).toBeLessThanOrEqual(1)
    }),
  )
})

test('the last stage, which has the head, is the first to get a layer less, then the first stage', () => {
  // DeepSeek-V3 has 61 layers in 16 stages.
  expect(sizes(61, 16)).toEqual([3, ...new Array<number>(13).fill(4), 3, 3])
  expect(sizes(7, 4)).toEqual([2, 2, 2, 1])
  expect(sizes(6, 4)).toEqual([1, 2, 2, 1])
})
