import { expect, test } from 'vitest'
import type { RouterRows } from './collected-routes.ts'
import { ExpertTraffic } from './expert-traffic.ts'

const rowsOf = (...expert: number[]): RouterRows[] => [
  {
    ...{ layer: 3, module: 'ffn', experts: 4, prototypes: 1 },
    expert_TK: Int32Array.from(expert),
    gate_TK: new Float32Array(expert.length),
  },
]

test('counts the choices of the given tokens, since the beginning and in the last minute', () => {
  let now = 0
  const traffic = new ExpertTraffic(() => now)
  expect(traffic.read()).toEqual({ tokens: { all: 0, recent: 0 }, routers: [] })
  // Three tokens with two choices each, of which the last two are counted.
  traffic.add(rowsOf(0, 1, 2, 3, 2, 0), 3, 1, 3)
  now = 30_000
  traffic.add(rowsOf(2, 1), 1, 0, 1)
  const read = () => {
    const { tokens, routers } = traffic.read()
    return { tokens, all: [...(routers[0]?.all ?? [])], recent: [...(routers[0]?.recent ?? [])] }
  }
  expect(read()).toEqual({ tokens: { all: 3, recent: 3 }, all: [1, 1, 3, 1], recent: [1, 1, 3, 1] })
  now = 60_500
  expect(read()).toEqual({ tokens: { all: 3, recent: 1 }, all: [1, 1, 3, 1], recent: [0, 1, 1, 0] })
  now = 100_000
  expect(read()).toEqual({ tokens: { all: 3, recent: 0 }, all: [1, 1, 3, 1], recent: [0, 0, 0, 0] })
  expect(traffic.read().routers[0]).toMatchObject({ layer: 3, module: 'ffn', experts: 4, prototypes: 1 })
})

test('keeps at most a slice for each second of the last minute, however long it runs', () => {
  let now = 0
  const traffic = new ExpertTraffic(() => now)
  for (; now < 600_000; now += 100) traffic.add(rowsOf(1), 1, 0, 1)
  const { tokens } = traffic.read()
  expect(tokens.all).toBe(6000)
  expect(tokens.recent).toBeGreaterThanOrEqual(590)
  expect(tokens.recent).toBeLessThanOrEqual(600)
  expect((traffic as unknown as { slices: unknown[] }).slices.length).toBeLessThanOrEqual(60)
})
