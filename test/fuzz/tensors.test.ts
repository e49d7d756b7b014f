import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { floatsOf } from '../../src/engine/contract/arena.ts'
import { cpuMemory } from '../../src/engine/testing/cpu-memory.ts'
import { readSafetensors } from '../../src/node/run/checkpoint/tensor-files.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf, outcomeOf } from './outcome.ts'
import { safetensors } from './tensors.ts'
import { changed, damaged } from './values.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-fuzz-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const data = Buffer.from(Float32Array.from([1, 2, 3, 4, 5, 6]).buffer)
const header = {
  __metadata__: { format: 'pt' },
  a: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
  b: { dtype: 'F32', shape: [2], data_offsets: [16, 24] },
}

async function read(bytes: Buffer): Promise<number[] | null> {
  writeFileSync(join(folder, 'model.safetensors'), bytes)
  const arena = cpuMemory.createArena(4096)
  const [a, b] = [
    { name: 'a', shape: [2, 2], range: { arena, start: 0, count: 4 } },
    { name: 'b', shape: [2], range: { arena, start: 64, count: 2 } },
  ] as const
  const outcome = await outcomeOf(() => readSafetensors(folder, 'model', [a, b]))
  expect(faultOf(outcome)).toBeNull()
  return outcome.code === 0 ? [...floatsOf(a.range), ...floatsOf(b.range)] : null
}

test(
  'a file of tensors with any header is refused with a message, or gives numbers of the file',
  async () => {
    expect(await read(safetensors(header, data))).toEqual([1, 2, 3, 4, 5, 6])
    await fc.assert(
      fc.asyncProperty(changed(header), async (other) => {
        const numbers = await read(safetensors(other, data))
        if (numbers) expect([...numbers].sort()).toEqual([1, 2, 3, 4, 5, 6])
      }),
      runs(300),
    )
  },
  fuzzTimeout,
)

test(
  'a damaged file of tensors is refused with a message, or read',
  async () => {
    await fc.assert(
      fc.asyncProperty(damaged(safetensors(header, data)), async (bytes) => {
        await read(bytes)
      }),
      runs(300),
    )
  },
  fuzzTimeout,
)
