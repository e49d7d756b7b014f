import { expect, test } from 'vitest'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { Layout } from '../../../train/step/store/placement.ts'
import { calibrationOf } from '../testing/cases.ts'
import { rankMemory } from './rank-memory.ts'
import { type SimulationEvent, simulate } from './simulation.ts'

const config = (...sets: string[]) => loadConfig('tiny', ['runtime.threads=1', 'parallel.expert=4', ...sets])
const calibration = calibrationOf()

const bytesOf = (used: RunConfig, layout: Layout): number =>
  Object.values(rankMemory(used, layout, 1)).reduce((sum: number, part) => sum + part, 0)

test('a rank that does not fit has fewer layers, and its memory is scaled to all layers', async () => {
  const requested = await config('model.layers=8')
  const options = { ranks: 4, steps: 2, calibration }
  const whole = await simulate(requested, options)
  const six = { ...whole.config, model: { ...whole.config.model, layers: 6 } }
  const fewer = await simulate(requested, { ...options, memoryBytes: bytesOf(six, whole.layout) })
  expect([whole.layers, fewer.layers]).toEqual([8, 6])
  for (const kind of ['parameters', 'gradients', 'activations'] as const)
    expect((fewer.memory[kind]?.measured ?? 0) / (whole.memory[kind]?.measured ?? 1)).toBeCloseTo(1, 1)
  expect(fewer.config.model.layers).toBe(8)
})

test('fewer layers keep the period of sparse and dense layers', async () => {
  const requested = await config('model.layers=8', 'model.moe.every=2')
  const { layout, config: used } = await simulate(requested, { ranks: 4, steps: 1, calibration })
  const memoryBytes = bytesOf(used, layout) - 1
  const part = await simulate(requested, { ranks: 4, steps: 1, calibration, memoryBytes })
  expect(part.layers).toBe(6)
})

test('fewer layers keep the dense layers at the beginning', async () => {
  const requested = await config('model.layers=6', 'model.moe.from=3')
  const { layout, config: used } = await simulate(requested, { ranks: 4, steps: 1, calibration })
  const part = await simulate(requested, { ranks: 4, steps: 1, calibration, memoryBytes: bytesOf(used, layout) - 1 })
  expect(part.layers).toBe(5)
})

test('counted traffic of gradients and parameters is the planned traffic to the byte', async () => {
  const { traffic } = await simulate(await config(), { ranks: 4, steps: 2, calibration })
  for (const channel of ['gradients', 'parameters'] as const)
    for (const direction of ['sentBytes', 'receivedBytes'] as const)
      expect(traffic[channel][direction].measured).toBe(traffic[channel][direction].planned)
  expect(traffic.experts.sentBytes.measured).toBeGreaterThan(0)
})

test('steps are reported, and an interruption ends them', async () => {
  const controller = new AbortController()
  const events: SimulationEvent[] = []
  const onEvent = (event: SimulationEvent) => {
    events.push(event)
    controller.abort()
  }
  const { interrupted } = await simulate(await config(), {
    ranks: 4,
    steps: 9,
    calibration,
    signal: controller.signal,
    onEvent,
  })
  expect(interrupted).toBe(true)
  expect(events.map(({ kind }) => kind)).toEqual(['step'])
})

test('a model is refused if fewer than two of its layers fit', async () => {
  const refused = simulate(await config('model.layers=3'), { ranks: 4, steps: 1, calibration, memoryBytes: 1000 })
  await expect(refused).rejects.toThrow(/2 of 3 layers need/)
})
