import { describe, expect, test } from 'vitest'
import type { StepEvent } from '../../engine/contract/times.ts'
import { clusterOf, loadPlannedRun } from './inputs/load-plan.ts'
import { plan } from './plan.ts'
import { planTimeline } from './timeline.ts'

/** The best plan of a preset, and the events of its timeline by stage. */
async function timeline(preset: string, family: string, devices: number, ...sets: string[]) {
  const run = await loadPlannedRun(preset, sets)
  const planned = await plan(run, clusterOf(family, devices))
  const [first] = planned.best
  if (!first) throw new Error('nothing fits')
  const events = await planTimeline(planned, first)
  const stages = Array.from({ length: first.layout.pipeline }, (_, stage) =>
    events.filter(({ thread }) => thread === stage),
  )
  return { best: first, events, stages }
}

const isOuter = ({ op, name }: StepEvent) => op !== '' || name === 'waiting'
const seconds = (events: readonly StepEvent[]) => events.reduce((sum, { begin, end }) => sum + end - begin, 0) / 1000
const lengthOf = (events: readonly StepEvent[]) => Math.max(...events.map(({ end }) => end)) / 1000

test('without a pipeline the timeline has the predicted time, in all and by part', async () => {
  const { best, events } = await timeline('mixtral-8x7b', 'h100', 64, 'plan.parallel.pipeline=1', 'plan.recompute=full')
  const { parts, stepSeconds } = best.time
  expect(lengthOf(events)).toBeCloseTo(stepSeconds, 9)
  for (const kind of ['attention', 'experts', 'recomputation', 'all-to-all', 'optimizer'] as const)
    expect(seconds(events.filter(({ name }) => name === kind))).toBeCloseTo(parts[kind], 9)
  expect(parts.recomputation).toBeGreaterThan(0)
})

describe.each([1, 2])('with a pipeline of four stages and %d chunks in each', (chunks) => {
  const sets = ['plan.parallel.pipeline=4', `plan.virtualStages=${chunks}`, 'plan.recompute=full']

  test('every stage computes or waits at any time, and the whole is not longer than predicted', async () => {
    const { best, events, stages } = await timeline('mixtral-8x7b', 'h100', 64, ...sets)
    expect(stages).toHaveLength(4)
    for (const stage of stages) {
      const outer = stage.filter(isOuter).toSorted((a, b) => a.begin - b.begin)
      expect(outer[0]?.begin).toBe(0)
      for (let i = 1; i < outer.length; i++) expect(outer[i]?.begin).toBeCloseTo(outer[i - 1]?.end as number, 6)
    }
    expect(lengthOf(events)).toBeLessThanOrEqual(best.time.stepSeconds * (1 + 1e-9))
    expect(lengthOf(events)).toBeGreaterThan(best.time.stepSeconds * 0.9)
  })

  test('the parts of a pass fill it, and only backward passes recompute', async () => {
    const { stages } = await timeline('mixtral-8x7b', 'h100', 64, ...sets)
    for (const stage of stages)
      for (const pass of stage.filter(({ op }) => op !== '')) {
        const inner = stage.filter(
          (each) => each.op === '' && each.begin >= pass.begin - 1e-6 && each.end <= pass.end + 1e-6,
        )
        expect(seconds(inner)).toBeCloseTo(seconds([pass]), 9)
        expect(inner.some(({ name }) => name === 'recomputation')).toBe(pass.name === 'backward')
      }
  })
})
