/**
 * The predicted memory of a rank is compared with the memory that its stores and programs allocate.
 *
 * @slow
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import { type SimulatedMemory, simulateRank } from '../../../node/train/simulate.ts'
import { type RankMemory, rankMemory } from './rank-memory.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-memory-'))
  // Optimizers of the user's own are kept there.
  vi.stubEnv('XDG_CACHE_HOME', folder)
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

test.each<[string, number, string[]]>([
  ['S', 4, []],
  ['S', 4, ['parallel.expert=4']],
  ['S', 8, ['parallel.expert=2']],
  ['S', 4, ['parallel.expert=4', 'parallel.reproducible=false', 'model.layers=8']],
  ['S', 4, ['parallel.expert=4', 'model.moe.capacity=none']],
  ['S', 2, ['parallel.expert=2', 'parallel.shards=8']],
  ['S', 4, ['parallel.expert=2', 'model.activation=swiglu', 'train.microBatches=2']],
  ['S', 4, ['parallel.expert=2', 'model.moe.attention=all']],
  ['S', 4, ['train.optimizer.kind=adafactor', 'model.moe.every=2']],
  ['S', 4, ['train.optimizer.kind=examples/optimizers/muon.ts', 'parallel.expert=2', 'model.layers=8']],
  ['S', 4, ['train.optimizer.state=int8']],
  ['S', 2, ['train.optimizer.state=bf16', 'parallel.expert=2']],
  ['demo', 4, ['parallel.expert=4']],
  ['S', 4, ['parallel.expert=2', 'model.heads=8', 'model.headWidth=64', 'model.keyValueHeads=2', 'model.layers=8']],
  ['S', 4, ['parallel.expert=2', 'model.keyValueHeads=2', 'model.queryKeyNorm=head', 'model.layers=8']],
  ['S', 4, ['parallel.expert=2', 'model.headWidth=128', 'model.keyValueHeads=1', 'model.moe.attention=all']],
  ['S', 2, ['model.moe=null']],
])('the memory of %s on %d ranks with %j is predicted within 5 percent', async (preset, ranks, sets) => {
  const requested = await loadConfig(preset, [...sets, 'runtime.threads=1'])
  const { memory, layout, config } = await simulateRank(requested, { ranks, steps: 0 })
  const planned = rankMemory(config, layout, 1)
  for (const kind of ['parameters', 'gradients', 'optimizer', 'scratch'] as const)
    expect(Math.abs(planned[kind] - memory[kind])).toBeLessThan(0.01 * memory[kind] + 2 ** 17)
  const sum = (parts: RankMemory | SimulatedMemory) =>
    Object.values(parts).reduce((total: number, part) => total + (part ?? 0), 0)
  // Without oneDNN the memory of the program is not known.
  if (memory.activations !== undefined) expect(Math.abs(sum(planned) / sum(memory) - 1)).toBeLessThan(0.05)
})
