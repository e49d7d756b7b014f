import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import { Predictor } from '../cost/predict.ts'
import { clusterOf } from '../inputs/load-plan.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { layoutsOf } from '../search/search.ts'
import { balancedLoads } from '../work/load.ts'
import { localLayout, localRun } from './local-run.ts'
import { planLocal } from './plan-local.ts'

const demo = () => loadConfig('demo', ['train.batch=8', 'train.microBatches=4'])

describe('a run on this machine', () => {
  test('matches the trainer: one device, its micro-batches, no recomputation, no sharding', async () => {
    const run = localRun(await demo())
    const cluster = clusterOf('a100', 1, { devicesPerNode: 1 })
    expect(layoutsOf(run, cluster)).toEqual([localLayout(run)])
    expect(localLayout(run).microBatches).toBe(4)
  })

  test('stores float32 for any precision of products', async () => {
    const config = await loadConfig('demo', ['runtime.math=bf16'])
    expect(localRun(config).plan.precision).toBe('float32')
  })

  test('is refused on a GPU, which no calibration describes', async () => {
    const config = await loadConfig('tiny', ['runtime.device=webgpu'])
    await expect(planLocal(config)).rejects.toThrow(
      /^invalid runtime\.device: "webgpu" \(expected "cpu" with cluster=local: .*\)$/,
    )
  })

  test('computes only kept rows, whatever model.moe.compute says', async () => {
    const run = localRun(await loadConfig('demo', ['model.moe.compute=padded']))
    expect(run.model.moe?.compute).toBe('ragged')
    const expertsOf = (run: PlannedRun) =>
      new Predictor(run, clusterOf('a100', 1), balancedLoads(run.model)).predict(localLayout(run)).time.parts.experts
    const padded = {
      ...run,
      model: { ...run.model, moe: run.model.moe && { ...run.model.moe, compute: 'padded' as const } },
    }
    expect(expertsOf(run)).toBeLessThan(expertsOf(padded))
  })
})
