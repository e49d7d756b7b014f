/** A process that trains for long, or opens many runs, does not grow. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineConfig } from '../../src/library/config.ts'
import { Run } from '../../src/library/run.ts'
import { train } from '../../src/train/train.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-memory-'))
  setFlagsFromString('--expose-gc')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const allowed = 1.03

/** Resident memory in MiB, without garbage of this thread. */
function residentMemory(): number {
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage.rss() / 2 ** 20
}

test('2,000 steps of tiny, after the first 1,000', { timeout: 120_000 }, async () => {
  // Without the last step, which is followed by the last evaluation and checkpoint.
  const config = defineConfig({ preset: 'tiny', train: { steps: 3001, evalEvery: 100, checkpointEvery: 100 } })
  const memory: number[] = []
  await train(config, {
    directory: join(folder, 'long'),
    onEvent: (event) => {
      if (event.kind === 'train' && event.step % 1000 === 0) memory.push(residentMemory())
    },
  })
  const [first, ...rest] = memory as [number, ...number[]]
  expect(rest).toHaveLength(2)
  for (const later of rest) expect(later / first, memory.join(', ')).toBeLessThan(allowed)
})

test('200 opened and closed runs', { timeout: 120_000 }, async () => {
  const directory = join(folder, 'short')
  await train(defineConfig({ preset: 'tiny', train: { steps: 10 } }), { directory })
  const memory: number[] = []
  for (let i = 1; i <= 200; i++) {
    const run = await Run.load(directory)
    for await (const _ of run.generate('The', { tokens: 2 }));
    await run.close()
    if (i % 50 !== 0) continue
    // The threads of the runtime collect their garbage when it is closed.
    await delay(100)
    memory.push(residentMemory())
  }
  const [first, ...rest] = memory as [number, ...number[]]
  for (const later of rest) expect(later / first, memory.join(', ')).toBeLessThan(allowed)
})
