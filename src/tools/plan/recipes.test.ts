/**
 * Published recipes that run: they have to fit. Source: Megatron-Bridge at 067f987,
 * src/megatron/bridge/perf_recipes/deepseek/gb200/deepseek_v3.py, with the optimizer of
 * recipes/deepseek/h100/deepseek_v3.py (moments and gradients in bfloat16, originals in float32) and the precisions of
 * training/mixed_precision.py.
 */
import { describe, expect, test } from 'vitest'
import { loadCluster, loadPlannedRun } from './inputs/load-plan.ts'
import { plan } from './plan.ts'

/** 256 GB200, 64 of an NVLink domain of 72. */
async function cluster() {
  const cluster = await loadCluster('gb200-288')
  return { ...cluster, devices: 256, devicesPerNode: 64 }
}

describe('DeepSeek-V3 on 256 GB200 fits', () => {
  const common = [
    // The layer that predicts a second token counts as one more layer.
    'model.layers=62',
    'train.batch=4096',
    'plan.microBatches=64',
    'plan.parallel={tensor: 1, pipeline: 4, expert: 64, expertTensor: 1}',
    'plan.virtualStages=4',
    'plan.zero=1',
    'plan.gradients=precision',
    'plan.graphs=true',
    'plan.crossEntropy.fused=true',
  ]
  test.each<[string, readonly string[]]>([
    ['in bfloat16', ['plan.precision=bfloat16', 'plan.dispatchPrecision=activations', 'plan.recompute=[latent]']],
    ['in float8 with scales for tensors', ['plan.weights=float8', 'plan.recompute=[network]']],
    ['in mxfp8', ['plan.weights=mxfp8', 'plan.recompute=[latent]']],
    [
      'in mxfp8 with two virtual stages and offloading of the rows of experts',
      [
        'plan.weights=mxfp8',
        'plan.recompute=[latent]',
        'plan.virtualStages=2',
        'train.batch=8192',
        'plan.microBatches=128',
        'plan.gradients=float32',
        'plan.offloadActivations=0.2',
      ],
    ],
  ])('%s', async (_, own) => {
    const { fits, best, fitProbability } = await plan(
      await loadPlannedRun('deepseek-v3', [...common, ...own]),
      await cluster(),
    )
    expect(fits).toBe(true)
    expect(best).toHaveLength(1)
    expect(fitProbability).toBeGreaterThan(0.5)
  })
})
