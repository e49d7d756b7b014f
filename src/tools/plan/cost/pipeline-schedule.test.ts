import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ScheduledPass, schedulePasses } from './pipeline-schedule.ts'

const lengthOf = (passes: readonly ScheduledPass[]) => Math.max(...passes.map(({ end }) => end))
const equal = (stages: number) => Array.from({ length: stages }, () => ({ forward: 1, backward: 2 }))

test('one stage computes forward and backward passes in turns', () => {
  const kinds = schedulePasses(equal(1), 2).map(({ kind, microBatch }) => `${kind} ${microBatch}`)
  expect(kinds).toEqual(['forward 0', 'backward 0', 'forward 1', 'backward 1'])
})

test('the order of the first of three stages, by hand', () => {
  const first = schedulePasses(equal(3), 4).filter(({ stage }) => stage === 0)
  expect(first.map(({ kind, microBatch }) => `${kind[0]}${microBatch}`).join(' ')).toBe('f0 f1 f2 b0 f3 b1 b2 b3')
})

const sizes = fc.record({ stages: fc.integer({ min: 1, max: 6 }), rounds: fc.integer({ min: 1, max: 5 }) })

describe('equal stages wait as long as the formula of the bubble says', () => {
  // Narayanan et al. 2021, section 2.2: the bubble is (p − 1) · (forward + backward), divided by the chunks of a stage.
  test.each([1, 2, 3])('with %d chunks', (chunks) => {
    fc.assert(
      fc.property(sizes, ({ stages, rounds }) => {
        const microBatches = stages * rounds
        const length = lengthOf(schedulePasses(equal(stages), microBatches, stages > 1 ? chunks : 1))
        expect(length).toBeCloseTo(3 * microBatches + (3 * (stages - 1)) / (stages > 1 ? chunks : 1), 9)
      }),
    )
  })
})

test('every pass comes once, after the pass that it needs, and a stage computes one at a time', () => {
  const times = fc.array(
    fc.record({
      forward: fc.double({ min: 0.1, max: 9, noNaN: true }),
      backward: fc.double({ min: 0.1, max: 9, noNaN: true }),
    }),
    { minLength: 2, maxLength: 5 },
  )
  fc.assert(
    fc.property(times, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), (stages, rounds, chunks) => {
      const p = stages.length
      const passes = schedulePasses(stages, p * rounds, chunks)
      const find = (kind: string, layer: number, microBatch: number) =>
        passes.find(
          (pass) => pass.kind === kind && pass.microBatch === microBatch && pass.chunk * p + pass.stage === layer,
        )
      const last = p * chunks - 1
      for (let microBatch = 0; microBatch < p * rounds; microBatch++) {
        const path = [
          ...Array.from({ length: last + 1 }, (_, layer) => find('forward', layer, microBatch)),
          ...Array.from({ length: last + 1 }, (_, i) => find('backward', last - i, microBatch)),
        ]
        for (let i = 1; i < path.length; i++)
          expect(path[i]?.begin).toBeGreaterThanOrEqual((path[i - 1]?.end as number) - 1e-9)
      }
      expect(passes).toHaveLength(2 * p * chunks * p * rounds)
      for (let stage = 0; stage < p; stage++) {
        const own = passes.filter((pass) => pass.stage === stage)
        for (let i = 1; i < own.length; i++) expect(own[i]?.begin).toBeGreaterThanOrEqual(own[i - 1]?.end as number)
      }
    }),
    { numRuns: 50 },
  )
})
