import { describe, expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../core/config/run-config.ts'
import { forRanks } from './layout.ts'

const configOf = (parallel: RunInput['parallel']) => runSchema.parse({ train: { batch: 8 }, parallel })

test.each([
  [{ expert: 4 }, 2, false, 'invalid parallel.expert: 4 (expected a divisor of the 2 ranks)'],
  [
    { expert: 2, data: 4 },
    4,
    false,
    'invalid parallel.data: 4 (expected 2: 4 ranks in groups of 2 that share experts)',
  ],
  [
    { shards: 4 },
    3,
    false,
    'invalid parallel.shards: 4 (expected a multiple of the 3 ranks; start 1, 2 or 4 ranks, or a new run with more shards)',
  ],
  [
    // The run was begun in a process alone.
    {},
    2,
    true,
    'invalid parallel.shards: 1 (expected a multiple of the 2 ranks; a run keeps its shards: start 1 rank, or a new ' +
      'run with more shards)',
  ],
] as const)('%j on %i ranks (resumed: %s) is refused with advice', (parallel, size, resume, message) => {
  expect(() => forRanks(configOf(parallel), { rank: 0, size }, resume)).toThrow(message)
})

test('a new run has as many shards as ranks, and a resumed run keeps its number of shards', () => {
  expect(forRanks(configOf({}), { rank: 1, size: 4 }, false).parallel.shards).toBe(4)
  expect(forRanks(configOf({ shards: 8 }), { rank: 1, size: 4 }, true).parallel.shards).toBe(8)
})

describe('ranks with GPUs that share experts', () => {
  const onGpus = (over: RunInput) =>
    runSchema.parse({
      ...over,
      parallel: { expert: 2, ...over.parallel },
      runtime: { device: 'webgpu', ...over.runtime },
    })
  const twoRanks = (over: RunInput) => () => forRanks(onGpus(over), { rank: 0, size: 2 }, false)

  test('are refused if gradients of experts that are kept by rank do not begin where a kernel can read', () => {
    const odd = { model: { width: 20, heads: 2, moe: { hidden: 10, experts: 4 } } }
    expect(twoRanks(odd)).not.toThrow()
    expect(twoRanks({ ...odd, train: { microBatches: 2 } })).toThrow(
      /invalid parallel\.expert: 2 \(expected 1: an expert of layers\.0\.\S+ has 200 numbers, which is no multiple of 64/,
    )
    expect(twoRanks({ ...odd, train: { microBatches: 2 }, parallel: { reproducible: false } })).not.toThrow()
  })

  test('are refused if rows are not whole words', () => {
    const odd = { model: { width: 15, heads: 3, positions: 'learned' as const, moe: { hidden: 64, experts: 4 } } }
    expect(twoRanks(odd)).not.toThrow()
    expect(twoRanks({ ...odd, runtime: { math: 'f16' } })).toThrow(
      'invalid model.width: 15 (expected an even number if GPUs share experts in f16',
    )
  })
})
