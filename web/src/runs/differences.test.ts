import { describe, expect, it } from 'vitest'
import { readRunConfig } from '../../../src/faces/watch/runs/run-config.ts'
import { expand } from '../../../src/tools/study/grid/grid.ts'
import { specificationSchema } from '../../../src/tools/study/specification.ts'
import { differences, experimentOf } from './differences.ts'

describe('differences', () => {
  it('are the fields that are not the same in all runs, seeds last', () => {
    const rows = differences([
      { config: { 'train.seed': 0, 'model.moe.k': 1, 'model.layers': 2, version: '1', name: 'x' } },
      { config: { 'train.seed': 1, 'model.moe.k': 2, 'model.layers': 2, version: '2', name: 'y' } },
      { config: { 'train.seed': 1, 'model.layers': 2 } },
    ])
    expect(rows).toEqual([
      { field: 'model.moe.k', values: [1, 2, undefined], seed: false },
      { field: 'train.seed', values: [0, 1, 1], seed: true },
    ])
  })

  it('distinguish a number from its text, and null from a missing field', () => {
    const rows = differences([{ config: { k: 1, c: null } }, { config: { k: '1' } }])
    expect(rows.map(({ field }) => field)).toEqual(['k', 'c'])
  })

  it('are empty for a single run', () => {
    expect(differences([{ config: { k: 1 } }])).toEqual([])
  })
})

describe('an experiment', () => {
  it('is the same whatever the seeds, the folder and the order of fields', () => {
    const one = experimentOf({ 'train.seed': 0, 'data.seed': 1, k: 1, name: 'a', lr: 0.1 })
    expect(experimentOf({ lr: 0.1, 'train.seed': 5, k: 1, name: 'b' })).toBe(one)
    expect(experimentOf({ lr: 0.1, 'train.seed': 5, k: 2, name: 'b' })).not.toBe(one)
    expect(experimentOf({ lr: 0.1, k: 1, 'data.seedling': 3 })).not.toBe(one)
  })

  it('of a study is an arm with the runs of all seeds, whatever the threads of a machine', async () => {
    const arms = {
      'top-1': { 'model.moe.router': 'top-k' },
      hash: { 'model.moe.router': 'hash' },
      dense: { 'model.moe': null },
    }
    const { cells } = await expand(specificationSchema.parse({ base: 'tiny', seeds: [1, 2, 3], arms }))
    const experiments = new Map<string, Set<string | null>>()
    for (const { arm, seed, config } of cells) {
      const stored = { ...config, runtime: { ...config.runtime, threads: seed } }
      const { fields } = readRunConfig(JSON.stringify(stored))
      const experiment = experimentOf({ 'study.arm': arm, ...fields })
      experiments.set(arm, (experiments.get(arm) ?? new Set()).add(experiment))
    }
    expect([...experiments.values()].map(({ size }) => size)).toEqual([1, 1, 1])
    expect(new Set([...experiments.values()].flatMap((each) => [...each])).size).toBe(3)
  })

  it('outside a study depends on the threads, which a user may compare', () => {
    const [one, two] = [1, 2].map((threads) => experimentOf({ 'train.seed': threads, 'runtime.threads': threads }))
    expect(one).not.toBe(two)
  })

  it('is unknown without a configuration', () => {
    expect(experimentOf({})).toBeNull()
  })
})
