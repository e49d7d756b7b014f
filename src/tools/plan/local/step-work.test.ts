import { describe, expect, test } from 'vitest'
import { TrainingBench } from '../../../node/measure/benchmark.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { Predictor } from '../cost/predict.ts'
import { clusterSchema } from '../inputs/cluster.ts'
import { clusterOf } from '../inputs/load-plan.ts'
import { idealCluster, idealInput, layoutOf, predict, runOf } from '../testing/cases.ts'
import { balancedLoads } from '../work/load.ts'
import { localLayout, localRun } from './local-run.ts'
import { predictedWork, recordedWork } from './step-work.ts'

describe('the work of a predicted step', () => {
  test.each([
    ['demo', 'train.batch=8', 'train.microBatches=2'],
    ['demo', 'model.moe=null'],
    ['S', 'train.optimizer.kind=adafactor'],
  ])('adds up to the step: %s %s', async (preset, ...sets) => {
    const run = localRun(await loadConfig(preset, sets))
    const a100 = clusterOf('a100', 1, { devicesPerNode: 1 })
    // The host of a calibrated machine is the device: nothing waits for it.
    const cluster = { ...a100, device: { ...a100.device, launch: 0 } }
    const { products, attention, passes, update } = predictedWork(run, cluster)
    const { stepSeconds } = new Predictor(run, cluster, balancedLoads(run.model)).predict(localLayout(run)).time
    expect(products + attention + passes + update).toBeCloseTo(stepSeconds, 12)
  })

  test('counts attention separately only if one kernel computes all of it', async () => {
    const config = await loadConfig('demo', [])
    const a100 = clusterOf('a100', 1, { devicesPerNode: 1 })
    // The host of a calibrated machine is the device: nothing waits for it.
    const cluster = { ...a100, device: { ...a100.device, launch: 0 } }
    const run = localRun(config)
    expect(predictedWork(run, cluster).attention).toBeGreaterThan(0)
    expect(predictedWork({ ...run, plan: { ...run.plan, attention: 'materialized' } }, cluster).attention).toBe(0)
  })
})

test('a query of fused attention costs attentionQuery forward, and 2.5 times as much backward', () => {
  const [B, S, H, L] = [4, 32, 8, 3]
  const run = runOf({
    model: { layers: L, width: 64, heads: H, sequence: S, hidden: 256, vocabulary: 512, moe: null },
    train: { batch: B },
    plan: { attention: 'fused' },
  })
  const input = idealInput(1)
  const slow = clusterSchema.parse({ ...input, device: { ...input.device, attentionQuery: '3 us' } })
  const of = (cluster: typeof slow) => predict(run, cluster, layoutOf()).time.parts.attention
  expect(of(slow) - of(idealCluster(1))).toBeCloseTo(L * B * H * S * 3e-6 * (1 + 2.5), 10)
})

describe('the work of a recorded step', () => {
  const node = (kind: string, layer: string, microseconds: number) => ({
    kind,
    layer,
    microseconds,
    op: kind,
    provider: 'oneDNN' as const,
    runs: 1,
  })
  const engines = { provider: '', math: 'float32' as const, threads: 1, peakFlops: 1, bandwidth: 1 }

  test('is sorted by kind; time that no node accounts for is waiting and counts as passes', () => {
    const nodes = [
      node('matmul', 'head', 10e6),
      node('MatMul', 'layers.0.attention', 2e6),
      node('expert-ffn', 'layers.0.moe.experts', 5e6),
      node('expert-ffn-gradient', 'layers.0.moe.experts', 7e6),
      node('attention', 'layers.0.attention', 3e6),
      node('attention-gradient', 'layers.0.attention', 4e6),
      node('rms-norm', 'norm', 1e6),
      node('adamw', 'optimizer', 6e6),
    ]
    const work = recordedWork({ ...engines, nodes, steps: 2, microseconds: 40e6 })
    expect(work).toEqual({ products: 12, attention: 3.5, update: 3, passes: 20 - 12 - 3.5 - 3 })
  })

  test('of a real training adds up to its time, products included', async () => {
    const bench = await TrainingBench.open(await loadConfig('tiny', ['train.batch=4']), true)
    try {
      await bench.run(2)
      bench.resetProfile()
      await bench.run(3)
      const { profile } = await bench.recorded()
      const { products, attention, passes, update } = recordedWork(profile)
      expect(products + attention + passes + update).toBeCloseTo(profile.microseconds / 3e6, 9)
      for (const part of [products, passes, update]) expect(part).toBeGreaterThan(0)
    } finally {
      await bench.close()
    }
  })
})
