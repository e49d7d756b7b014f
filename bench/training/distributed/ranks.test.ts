/**
 * Checks the losses of the ranks that the benchmark measures.
 *
 * @slow
 */
import { spawnSync } from 'node:child_process'
import { beforeAll, describe, expect, test } from 'vitest'
import { listDevices } from '../../../src/engine/dawn/node-device.ts'
import { type MpiLibrary, mpiLibraries } from '../../../src/tools/launch/mpirun.ts'
import { findPyTorch } from '../../peers/python.ts'
import { using } from '../../support/line-process.ts'
import { startPyTorch } from './peer.ts'
import { lossesOf, type RankSteps } from './summary.ts'
import { type Layout, startTraining } from './training.ts'

const slow = { timeout: 120_000 }
const hasPyTorch = await findPyTorch().then(
  () => true,
  () => false,
)
const { gpus } = await listDevices()
const run = { run: 3 }
const installed = mpiLibraries.filter((library) => spawnSync(`mpirun.${library}`, ['--version']).status === 0)

const losses = (library: MpiLibrary, layout: Layout) =>
  using(startTraining({ shape: 'tiny', place: { library } }, layout), async (world) =>
    lossesOf([await world.ask<RankSteps>(run)]),
  )
let alone: string
beforeAll(async () => {
  const layout = { name: 'alone', ranks: 1, expert: 1, launched: false, sets: ['parallel.shards=2'] }
  alone = await losses(mpiLibraries[0], layout)
}, slow.timeout)

describe.each(mpiLibraries)('%s', (library) => {
  const isInstalled = installed.includes(library)

  test.skipIf(!isInstalled)('ranks of Choir have the losses of one process, sharing experts or not', slow, async () => {
    for (const expert of library === installed[0] ? [1, 2] : [2])
      expect(await losses(library, { name: 'ranks', ranks: 2, expert })).toBe(alone)
  })
})

test.skipIf(installed.length === 0 || gpus.length === 0)(
  'ranks with GPUs have the losses of one GPU',
  { timeout: 300_000 },
  async () => {
    const place = { library: installed[0] as MpiLibrary }
    const on = (layout: Layout) =>
      using(startTraining({ shape: 'tiny', place, device: 'webgpu' }, layout), async (world) =>
        lossesOf([await world.ask<RankSteps>(run)]),
      )
    const one = await on({ name: 'alone', ranks: 1, expert: 1, launched: false, sets: ['parallel.shards=2'] })
    expect(await on({ name: 'ranks', ranks: 2, expert: 1 })).toBe(one)
  },
)

// PyTorch's ranks send their messages through Gloo: MPI only starts them, each library one of the two worlds.
test.skipIf(!hasPyTorch || installed.length === 0)(
  'ranks of PyTorch have the same losses, sharing experts or not',
  slow,
  async () => {
    const [first, last] = [installed[0], installed.at(-1)] as [MpiLibrary, MpiLibrary]
    const size = { layers: 2, width: 32, heads: 2, experts: 4, hidden: 64, vocabulary: 64, sequence: 32, batch: 4 }
    const steps = (library: MpiLibrary, expert: number) =>
      using(startPyTorch(size, { library }, { name: 'ranks', ranks: 2, expert }), async (world) => {
        const answers = await world.ask<RankSteps>(run)
        return answers[0]?.steps ?? []
      })
    const [batch, experts] = [await steps(first, 1), await steps(last, 2)]
    expect(batch).toHaveLength(3)
    batch.forEach(({ loss, gradNorm }, step) => {
      // The sums are in another order, so last digits may differ.
      expect(experts[step]?.loss).toBeCloseTo(loss, 5)
      expect(experts[step]?.gradNorm).toBeCloseTo(gradNorm, 5)
    })
    expect(batch[2]?.loss).not.toBe(batch[0]?.loss)
  },
)
