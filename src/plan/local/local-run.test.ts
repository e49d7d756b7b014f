import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../run/load-config.ts'
import { Predictor } from '../cost/predict.ts'
import { clusterOf } from '../inputs/load-plan.ts'
import { layoutsOf } from '../search/search.ts'
import { localLayout, localLoads, localRun } from './local-run.ts'

const demo = () => loadConfig('demo', ['train.batch=8', 'train.microBatches=4'])

describe('a run of this machine', () => {
  test('is what the trainer does: one device, its own micro-batches, nothing computed again or divided', async () => {
    const run = localRun(await demo(), true)
    const cluster = clusterOf('a100', 1, { devicesPerNode: 1 })
    expect(layoutsOf(run, cluster)).toEqual([localLayout(run)])
    expect(localLayout(run).microBatches).toBe(4)
  })

  test('stores float32, whatever its products round to', async () => {
    const config = await loadConfig('demo', ['runtime.math=bf16'])
    expect(localRun(config, true).plan.precision).toBe('float32')
  })

  test('computes the rows that are kept where there are kernels, and slots as the model says where not', async () => {
    const config = await loadConfig('demo', ['model.moe.compute=padded'])
    expect(localRun(config, true).model.moe?.compute).toBe('ragged')
    expect(localRun(config, false).model.moe?.compute).toBe('padded')
    const of = (kernels: boolean) => {
      const run = localRun(config, kernels)
      const { time } = new Predictor(run, clusterOf('a100', 1), localLoads(run)).predict(localLayout(run))
      return time.parts.experts
    }
    expect(of(true)).toBeLessThan(of(false))
  })
})
