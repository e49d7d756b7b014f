import { describe, expect, test } from 'vitest'
import { UsageError } from '../../core/errors.ts'
import { loadCluster, loadPlannedRun } from './inputs/load-plan.ts'
import { plan } from './plan.ts'
import { whatIf } from './what-if.ts'

describe('what if one field changes', () => {
  test('plans each value in order, as if it had been set', async () => {
    const cluster = await loadCluster('a100-8')
    const sets = ['train.batch=64']
    const { field, cases } = await whatIf('tiny', sets, cluster, 'model.moe.factor=1,1.25,2')
    expect(field).toBe('model.moe.factor')
    expect(cases.map(({ value }) => value)).toEqual(['1', '1.25', '2'])
    for (const { value, plan: planned } of cases)
      expect(planned).toEqual(await plan(await loadPlannedRun('tiny', [...sets, `model.moe.factor=${value}`]), cluster))
  })

  test('compares the routings of the paper: capacity 1x costs as much as top-1, kx more', async () => {
    const { cases } = await whatIf('m6t-base', [], await loadCluster('v100-8'), 'routing')
    const experts = (name: string) =>
      cases.find(({ value }) => value === name)?.plan.best[0]?.time.parts.experts ?? Number.NaN
    expect(experts('top-2, capacity 1x')).toBeCloseTo(experts('top-1'), 9)
    expect(experts('4 top-1, capacity 1x')).toBeCloseTo(experts('top-1'), 9)
    // Top-2 has twice the rows, 90 instead of 45 from each of eight ranks, but pads and fill of a product are paid
    // once. The thinnest product has (944·1248 + 5e5) / (584·1248 + 5e5) = 1.37 times the cost.
    expect(experts('top-2, fused') / experts('top-1')).toBeGreaterThan(1.36)
    expect(experts('top-2, fused') / experts('top-1')).toBeLessThan(2)
    expect(new Set(cases.map(({ value }) => value)).size).toBe(cases.length)
  })

  test('continues after a value that does not fit', async () => {
    const cluster = await loadCluster('v100-8')
    const small = { ...cluster, device: { ...cluster.device, memory: 4.2e9 } }
    const { cases } = await whatIf('m6t-base', [], small, 'plan.optimizer=adamw,adafactor')
    expect(cases.map(({ plan: { best } }) => best.length > 0)).toEqual([false, true])
  })

  test.each(['', 'model.moe.factor', '=1,2', 'model.moe.factor=', 'model.moe.factor=1,,2', 'Routing'])(
    'is refused if it is malformed: %j',
    async (question) => {
      const cluster = await loadCluster('a100-8')
      await expect(whatIf('tiny', [], cluster, question)).rejects.toThrow('invalid whatIf: ')
    },
  )

  test.each(['model.moe.facotr=1', 'model.moe.factor=x', 'model.moe.experts=5.5', 'plan.precision=tf16'])(
    'is refused if a value is invalid: %j',
    async (question) => {
      await expect(whatIf('tiny', [], await loadCluster('a100-8'), question)).rejects.toThrow(UsageError)
    },
  )
})
