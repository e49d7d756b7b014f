/** Standard deviations of initial parameters against their settings. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../../core/config/run-config.ts'
import { embeddingScaleOf } from '../../../core/model/config.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { loadConfig, loadRunConfig } from '../../../node/run/load-config.ts'
import { initialize, initialScales } from './initialize.ts'
import { ParameterStore } from './store.ts'

const temporary = temporaryFolder()

const model = {
  vocabulary: 600,
  layers: 8,
  width: 96,
  heads: 2,
  sequence: 64,
  positions: 'learned',
  tied: false,
} as const

/** Deviation of a standard normal truncated at two deviations. */
const CUT = 0.8796

async function deviations(input: RunInput): Promise<(name: string) => number> {
  const config = runSchema.parse({ ...input, model: { ...model, ...input.model } })
  const store = new ParameterStore(cpuMemory, parameterSpecs(config.model), null)
  await initialize(store, 1, initialScales(config))
  return (name) => {
    const values = floatsOf(store.parameter(name, name.includes('{e}') ? 1 : null))
    return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length) / CUT
  }
}

test('the stream begins at the configured deviation for any embedding scale', async () => {
  for (const embeddingScale of ['third-width', 'sqrt-width', 7] as const) {
    const of = await deviations({ model: { embeddingScale }, train: { init: { embedding: 0.5 } } })
    const scale = { 'third-width': 32, 'sqrt-width': Math.sqrt(96), 7: 7 }[embeddingScale]
    expect(of('embedding') * scale).toBeCloseTo(0.5, 1)
    expect(of('positions') * scale).toBeCloseTo(0.25, 2)
  }
})

test('matrices have deviation √(scale / fan-in), times the factor of their role', async () => {
  const moe = { experts: 24, hidden: 160 }
  const of = await deviations({ model: { moe }, train: { init: { scale: 4, router: 0.3, head: 0.5 } } })
  const ratios = {
    'layers.3.attention.qkv': 1 / Math.sqrt(96),
    'layers.3.moe.experts.{e}.up': 1 / Math.sqrt(96),
    // The factor 0.25 is 1/√(2·8 layers).
    'layers.3.attention.output': 0.25 / Math.sqrt(96),
    'layers.3.moe.experts.{e}.down': 0.25 / Math.sqrt(160),
    'layers.3.moe.router': 0.3 / Math.sqrt(96),
    head: 0.5 / Math.sqrt(96),
  }
  for (const [name, deviation] of Object.entries(ratios)) expect(of(name) / (2 * deviation), name).toBeCloseTo(1, 1)
  const unscaled = await deviations({ model: { moe }, train: { init: { residual: 1 } } })
  expect(unscaled('layers.3.attention.output') * Math.sqrt(96)).toBeCloseTo(1, 1)
})

test('a run written before the scales existed is read with its effective scales', async () => {
  const directory = temporary.make()
  const write = (config: object) => writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  const today = await loadConfig('demo', [])
  write(today)
  expect(await loadRunConfig(directory)).toEqual(today)
  const { embeddingScale: _, headScale: __, ...shape } = today.model
  const { init: ___, ...training } = today.train
  write({ ...today, model: shape, train: { ...training, init: { scale: 1 } } })
  const before = await loadRunConfig(directory)
  expect([embeddingScaleOf(before.model), before.model.headScale]).toEqual([1, 1])
  // Deviations of 1/√128 for the table, and of 1/√fan-in for all matrices.
  const { embedding, branch, router, head } = initialScales(before)
  expect(embedding).toBeCloseTo(1 / Math.sqrt(128), 12)
  expect([branch, router, head]).toEqual([1, 1, 1])
})
