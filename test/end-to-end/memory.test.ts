/**
 * A process that trains for long, or opens many runs, does not grow.
 *
 * @slow
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineConfig } from '../../src/faces/library/config.ts'
import { Run } from '../../src/faces/library/run.ts'
import { train } from '../../src/node/train/train.ts'

let folder: string
let collect: () => void
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-memory-'))
  setFlagsFromString('--expose-gc')
  collect = runInNewContext('gc') as () => void
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const allowed = 1.03

/** Resident memory in MiB, without garbage of this thread. */
function residentMemory(): number {
  collect()
  return process.memoryUsage.rss() / 2 ** 20
}

// V8 compiles at times of its own, which once cost 3 % on a busy machine. Hence the retry: a leak fails twice.
test('memory does not grow in 1,000 steps of tiny after the first 1,000', { timeout: 120_000, retry: 1 }, async () => {
  const config = defineConfig({ preset: 'tiny', train: { steps: 2000, evalEvery: 100, checkpointEvery: 100 } })
  // Checkpoints and evaluations need memory for a moment, so the minimum of a hundred steps counts.
  const hundreds = [10, 15, 19]
  const least = new Map<number, number>()
  await train(config, {
    directory: mkdtempSync(join(folder, 'long-')),
    onEvent: (event) => {
      const hundred = event.kind === 'train' && event.step % 10 === 0 ? Math.floor(event.step / 100) : Number.NaN
      if (!hundreds.includes(hundred)) return
      least.set(hundred, Math.min(least.get(hundred) ?? Number.POSITIVE_INFINITY, residentMemory()))
    },
  })
  const [first, ...rest] = hundreds.map((hundred) => least.get(hundred) ?? Number.NaN) as [number, ...number[]]
  for (const later of rest) expect(later / first, [first, ...rest].join(', ')).toBeLessThan(allowed)
})

test('memory does not grow while 200 runs are opened and closed', { timeout: 120_000, retry: 1 }, async () => {
  const directory = mkdtempSync(join(folder, 'short-'))
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
