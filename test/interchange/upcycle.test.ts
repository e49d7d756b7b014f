import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { loadRunConfig } from '../../src/node/run/load-config.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { importModel } from '../../src/use/interchange/import/import-model.ts'
import type { Upcycling } from '../../src/use/interchange/import/upcycle.ts'
import { choirLogits, relativeDifference, writeFolder } from './folders.ts'

const temporary = temporaryFolder()

async function upcycled(name: keyof typeof samples, upcycle: Upcycling, seed = 0) {
  const root = temporary.make()
  const written = writeFolder(join(root, 'model'), samples[name] as Fields)
  const run = join(root, 'run')
  const report = await importModel(written.folder, run, { upcycle, seed })
  return { ...written, root, run, report, difference: relativeDifference(await choirLogits(run), written.logits) }
}

test.each<[keyof typeof samples, Upcycling]>([
  ['llama', { experts: 4, k: 2 }],
  ['qwen2', { experts: 3, k: 3, every: 2 }],
  ['granite', { experts: 5, k: 2, from: 1 }],
])('%s upcycled to %j begins with the logits of the dense model', async (name, upcycle) => {
  const { run, report, difference } = await upcycled(name, upcycle)
  expect(difference).toBeLessThan(1e-5)
  const { moe } = (await loadRunConfig(run)).model
  expect(moe).toMatchObject({ ...upcycle, hidden: 24, renormalize: true, capacity: 'none' })
  const sparse = [0, 1, 2].filter((layer) => layer >= (upcycle.from ?? 0) && (layer + 1) % (upcycle.every ?? 1) === 0)
  expect(report.made.map((tensor) => tensor.name)).toEqual(sparse.map((layer) => `layers.${layer}.moe.router`))
  const copied = report.tensors.find((tensor) => tensor.name === `model.layers.${sparse[0]}.mlp.up_proj.weight`)
  expect(copied?.ours).toEqual(
    Array.from({ length: upcycle.experts }, (_, e) => `layers.${sparse[0]}.moe.experts.${e}.up`),
  )
})

test('noise makes experts differ in proportion to its size, depending on the seed', async () => {
  const [none, little, more, other] = await Promise.all([
    upcycled('llama', { experts: 4, k: 2 }),
    upcycled('llama', { experts: 4, k: 2, noise: 1e-3 }),
    upcycled('llama', { experts: 4, k: 2, noise: 1e-2 }),
    upcycled('llama', { experts: 4, k: 2, noise: 1e-3 }, 1),
  ])
  expect(none.difference).toBeLessThan(1e-5)
  expect(more.difference / little.difference).toBeGreaterThan(5)
  expect(more.difference / little.difference).toBeLessThan(20)
  expect(other.difference).not.toBe(little.difference)
})

test('a dense run is upcycled too, and keeps its text', async () => {
  const root = temporary.make()
  const { folder, logits } = writeFolder(join(root, 'model'), samples.qwen3 as Fields)
  const [dense, run] = [join(root, 'dense'), join(root, 'run')]
  await importModel(folder, dense)
  const report = await importModel(dense, run, { upcycle: { experts: 4, k: 2 } })
  expect(report.architecture).toBe('choir')
  expect(relativeDifference(await choirLogits(run), logits)).toBeLessThan(1e-5)
  expect((await loadRunConfig(run)).data).toEqual((await loadRunConfig(dense)).data)
  await expect(importModel(dense, join(root, 'other'))).rejects.toThrow(
    /is a run already \(continue it with choir train/,
  )
  await expect(importModel(run, join(root, 'other'), { upcycle: { experts: 4, k: 2 } })).rejects.toThrow(
    /invalid upcycle: the model has experts already/,
  )
})

test('one expert for a token is refused, since its router would not learn', async () => {
  await expect(upcycled('llama', { experts: 4, k: 1 })).rejects.toThrow(/invalid upcycle: k=1 \(expected at least 2/)
  await expect(upcycled('llama', { experts: 2, k: 3 })).rejects.toThrow(
    /invalid model.moe.k: 3 \(must be at most experts 2/,
  )
})
