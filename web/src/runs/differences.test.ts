import { describe, expect, it } from 'vitest'
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

  it('is unknown without a configuration', () => {
    expect(experimentOf({})).toBeNull()
  })
})
