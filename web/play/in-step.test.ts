/** Both sides of the page, with workers that compute on the processor, in one process. */
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { effect } from '@preact/signals'
import { afterEach, expect, test, vi } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { memoryStore } from '../../src/faces/browser/storage/run-store.ts'
import { smallModel, smallText } from '../../src/faces/browser/testing/small-training.ts'
import { WebTraining } from '../../src/faces/browser/web-training.ts'
import type { Port } from '../../src/faces/browser/worker/messages.ts'
import { serveTraining } from '../../src/faces/browser/worker/serve.ts'
import type { WorkerPort } from '../../src/faces/library/web.ts'
import { commonStepOf, keepInStep } from './in-step.ts'
import { LiveRun, type SideName } from './live-run.ts'

const config: RunInput = {
  model: smallModel,
  data: { tokenizer: { kind: 'bytes' }, heldOut: 0.3 },
  train: { steps: 6, batch: 4, evalEvery: 6, evalBatches: 1 },
}

vi.setConfig({ testTimeout: 240_000 })

/** Long enough for a busy machine. */
const patience = { timeout: 100_000 }

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** @param compiled Resolves when the worker may open its device. */
function side(name: SideName, compiled: () => Promise<unknown> = async () => {}): LiveRun {
  const ports: MessagePort[] = []
  const run = new LiveRun(name, () => {
    const { port1, port2 } = new MessageChannel()
    serveTraining(port1 as unknown as Port, {
      openRuntime: () => compiled().then(() => createRuntime({ threads: 1 })),
      openStore: async () => memoryStore(),
    })
    port1.start()
    port2.start()
    ports.push(port1)
    return port2 as unknown as WorkerPort
  })
  ends.push(async () => {
    await run.close()
    for (const port of ports) port.close()
  })
  return run
}

const text = () => WebTraining.prepare({ config, text: smallText })

test('a side waits with its first step until the other is compiled, and the step of both never goes back', async () => {
  let compile = () => {}
  const slow = side('A', () => new Promise<void>((resolve) => (compile = resolve)))
  const fast = side('B')
  const both = [slow, fast]
  const shown: number[] = []
  const apart: number[] = []
  ends.push(
    keepInStep(both),
    effect(() => void shown.push(commonStepOf(both))),
    effect(() => void apart.push(Math.abs(slow.done.value - fast.done.value))),
  )
  for (const run of both) void run.start(config, text())
  await expect.poll(() => fast.phase.value, patience).toBe('running')
  // Long enough for several steps of this model.
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect([slow.phase.value, fast.done.value]).toEqual(['preparing', 0])
  compile()
  await expect.poll(() => both.map(({ phase }) => phase.value), patience).toEqual(['finished', 'finished'])
  await expect.poll(() => shown.at(-1), patience).toBe(6)
  expect(shown).toEqual(shown.toSorted((a, b) => a - b))
  expect(Math.max(...apart)).toBe(1)
})

test('a side that fails while it is prepared holds back no other', async () => {
  const broken = side('A', () => Promise.reject(new Error('no GPU')))
  const whole = side('B')
  ends.push(keepInStep([broken, whole]))
  await Promise.all([broken, whole].map((run) => run.start(config, text())))
  expect(broken.phase.value).toBe('failed')
  await expect.poll(() => whole.phase.value, patience).toBe('finished')
})
