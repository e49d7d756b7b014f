import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RunClock } from './recording.ts'
import type { NodeTime } from './times.ts'

const rest = (microseconds: number, runs: number) => ({
  kind: 'Run',
  provider: 'ONNX Runtime',
  op: 'ONNX Runtime call',
  layer: '',
  runs,
  microseconds,
})

const node = (microseconds: number, runs: number): NodeTime => ({
  kind: 'MatMul',
  provider: 'ONNX Runtime',
  op: 'matmul',
  layer: '',
  runs,
  microseconds,
  flops: 10 * runs,
  bytes: 100 * runs,
})

test('runs before a reset do not count, and nodes keep their share of a run', () => {
  const clock = new RunClock()
  clock.add(9)
  clock.reset()
  clock.add(1)
  clock.add(2)
  // The node took 6 of 12 ms in all runs, so it gets half of the 3 ms since the reset.
  expect(clock.runs).toBe(2)
  expect(clock.scale([node(6000, 3)])).toEqual([node(1500, 2), rest(1500, 2)])
})

test('a recording that ended early represents the runs that it missed', () => {
  const clock = new RunClock()
  for (let run = 0; run < 10; run++) clock.add(1)
  expect(clock.scale([node(800, 4)])).toEqual([node(2000, 10), rest(8000, 10)])
})

test('without a run since the reset there are no times', () => {
  const clock = new RunClock()
  expect(clock.scale([])).toEqual([])
  clock.add(1)
  clock.reset()
  expect(clock.scale([node(1000, 1)])).toEqual([])
})

test('nodes and overhead add up to the runs since the reset', () => {
  const time = fc.double({ min: 0.01, max: 1e3, noNaN: true })
  fc.assert(
    fc.property(fc.array(time, { minLength: 1, maxLength: 5 }), fc.nat(4), fc.array(time), (runs, resetAt, nodes) => {
      const clock = new RunClock()
      runs.forEach((ms, i) => {
        if (i === resetAt) clock.reset()
        clock.add(ms)
      })
      const counted = runs.slice(resetAt < runs.length ? resetAt : 0).reduce((sum, ms) => sum + ms, 0)
      const sum = clock
        .scale(nodes.map((microseconds) => node(1000 * microseconds, runs.length)))
        .reduce((total, { microseconds }) => total + microseconds, 0)
      expect(sum / 1000 / counted).toBeCloseTo(1, 9)
    }),
  )
})
