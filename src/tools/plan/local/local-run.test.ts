import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import { Predictor } from '../cost/predict.ts'
import { clusterOf } from '../inputs/load-plan.ts'
import { layoutsOf } from '../search/search.ts'
import { balancedLoads } from '../work/load.ts'
import { localLayout, localRun } from './local-run.ts'
import { planLocal } from './plan-local.ts'

const demo = () => loadConfig('demo', ['train.batch=8', 'train.microBatches=4'])

describe('a run on this machine', () => {
  test('matches the trainer: one device, its micro-batches, no recomputation, no sharding', async () => {
    const run = localRun(await demo(), true)
    const cluster = clusterOf('a100', 1, { devicesPerNode: 1 })
    expect(layoutsOf(run, cluster)).toEqual([localLayout(run)])
    expect(localLayout(run).microBatches).toBe(4)
  })

  test('stores float32 for any precision of products', async () => {
    const config = await loadConfig('demo', ['runtime.math=bf16'])
    expect(localRun(config, true).plan.precision).toBe('float32')
  })

  test('in f16 is refused, whose activations have other sizes', async () => {
    const config = await loadConfig('demo', ['runtime.device=webgpu', 'runtime.math=f16'])
    await expect(planLocal(config)).rejects.toThrow(
      /^invalid runtime\.math: "f16" with --cluster local \(expected .*\)$/,
    )
  })

  test('with kernels computes only kept rows, without them as model.moe.compute says', async () => {
    const config = await loadConfig('demo', ['model.moe.compute=padded'])
    expect(localRun(config, true).model.moe?.compute).toBe('ragged')
    expect(localRun(config, false).model.moe?.compute).toBe('padded')
    const of = (kernels: boolean) => {
      const run = localRun(config, kernels)
      const { time } = new Predictor(run, clusterOf('a100', 1), balancedLoads(run.model)).predict(localLayout(run))
      return time.parts.experts
    }
    expect(of(true)).toBeLessThan(of(false))
  })
})
