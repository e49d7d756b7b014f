import { expect, test } from 'vitest'
import type { RoutingIndex } from '../api.ts'
import { chooseSnapshots } from './snapshots.ts'

function runOf(snapshots: number, routers: number, experts: number, count: (i: number) => number) {
  const size = routers * 2 * experts
  const index: RoutingIndex = {
    run: 'a',
    routers: Array.from({ length: routers }, (_, layer) => ({ layer, module: 'ffn', experts, prototypes: 1 })),
    experts,
    steps: Array.from({ length: snapshots }, (_, t) => 10 * t),
    of: snapshots,
    generation: 1,
  }
  const loads = (from: number, to: number) =>
    Float32Array.from({ length: (to - from) * size }, (_, i) => count(from * size + i))
  return { index, run: { loads } }
}

test('a small run keeps all its snapshots', () => {
  const { run, index } = runOf(240, 4, 8, () => 1)
  expect(chooseSnapshots(run, index, []).indices).toHaveLength(240)
})

test('many snapshots are thinned evenly, and those of moments and the last stay', () => {
  const { run, index } = runOf(2001, 1, 4, () => 1)
  const { indices } = chooseSnapshots(run, index, [170, 10])
  expect(indices).toContain(17)
  expect(indices).toContain(1)
  expect(indices.at(-1)).toBe(2000)
  expect(indices.filter((i) => i % 4 === 0)).toHaveLength(501)
  expect(indices).toHaveLength(503)
})

test('large snapshots of noise stay below the limit of the file', () => {
  let state = 1
  const noise = () => {
    state = (state * 48271) % 2147483647
    return state % 65_536
  }
  const { run, index } = runOf(200, 24, 64, noise)
  const { packed, indices } = chooseSnapshots(run, index, [10])
  expect(packed.length).toBeLessThanOrEqual(900_000)
  expect(indices.length).toBeGreaterThan(40)
  expect(indices.length).toBeLessThan(200)
})
