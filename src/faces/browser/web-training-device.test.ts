/** A training on a GPU, real or in software: the run that it exports continues on the CPU. */
import { afterAll, describe, expect, test } from 'vitest'
import type { RunInput } from '../../core/config/run-config.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { createDeviceRuntime } from '../../engine/webgpu/runtime.ts'
import { testDevice } from '../../engine/webgpu/testing/run-kernel.ts'
import { smallModel, smallText as text } from './testing/small-training.ts'
import { WebTraining } from './web-training.ts'

const config: RunInput = {
  // The sizes are those of test/webgpu-model.test.ts, because a software device compiles kernels for every size.
  model: { ...smallModel, hidden: 16, moe: { ...smallModel.moe, experts: 6, hidden: 16 } },
  data: { tokenizer: { kind: 'bytes' }, heldOut: 0.3 },
  train: { steps: 12, batch: 4, evalBatches: 1, schedule: { warmup: 2 } },
}

describe.skipIf(testDevice === null)('on a device', () => {
  const runtime = testDevice && createDeviceRuntime(testDevice)
  afterAll(() => runtime?.close())

  test('a run moves to the CPU and back, with the losses of a run that did not move', async () => {
    if (!runtime) return
    const cpu = await createRuntime({ threads: 1 })
    const [onDevice, onCpu] = [
      await WebTraining.open({ config, text, runtime }),
      await WebTraining.open({ config, text, runtime: cpu }),
    ]
    const losses = async (training: WebTraining, count: number) => {
      const all: number[] = []
      for (let i = 0; i < count; i++) all.push((await training.step()).record.loss)
      return all
    }
    const differ = (a: readonly number[], b: readonly number[]) =>
      Math.max(...a.map((loss, i) => Math.abs(loss - (b[i] as number))))
    expect(differ(await losses(onDevice, 3), await losses(onCpu, 3))).toBeLessThan(1e-4)
    const moved = await WebTraining.import(await onDevice.export(), { runtime: cpu })
    const expected = await losses(onCpu, 3)
    expect(differ(await losses(moved, 3), expected)).toBeLessThan(1e-4)
    const back = await WebTraining.import(await moved.export(), { runtime })
    const [there, here] = [await back.trace('the ship'), await moved.trace('the ship')]
    expect(there.routers[0]?.expert).toEqual(here.routers[0]?.expert)
    expect(Math.abs(there.loss - here.loss)).toBeLessThan(1e-4)
    const write = async (training: WebTraining) => {
      let written = ''
      for await (const piece of training.generate('the', { tokens: 4, temperature: 0 })) written += piece
      return written
    }
    expect(await write(back)).toBe(await write(moved))
    for (const training of [onDevice, onCpu, moved, back]) await training.close()
    await cpu.close()
  }, 240_000)
})
