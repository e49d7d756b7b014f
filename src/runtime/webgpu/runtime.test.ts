import { describe, expect, test } from 'vitest'
import { add } from '../../graph/ops/elementwise.ts'
import { input } from '../../graph/tensor.ts'
import { describeRuntime } from '../testing/conformance.ts'
import { openNodeDevice } from './node.ts'
import { createDeviceRuntime } from './runtime.ts'
import { testDevice } from './testing/run-kernel.ts'

describe.skipIf(testDevice === null)('on the first adapter', () => {
  describeRuntime('webgpu', async (options) => createDeviceRuntime(await openNodeDevice(), options), {
    float64: false,
    sync: false,
    threads: false,
  })

  test('a device that is lost is reported with what to do, and stays lost', async () => {
    const device = await openNodeDevice()
    const runtime = createDeviceRuntime(device)
    const executable = await runtime.compile({ outputs: { y: add(input('x', 'float32', [2]), 1) } })
    const y = new Float32Array(2)
    const binding = executable.bind({ x: Float32Array.of(1, 2), y })
    await binding.run()
    expect([...y]).toEqual([2, 3])
    device.gpu.destroy()
    for (let i = 0; i < 2; i++) await expect(binding.run()).rejects.toThrow(/the GPU was lost.*resume the run/)
    expect([...y]).toEqual([2, 3])
    await runtime.close()
  })

  test('a tensor that the device cannot bind is refused by name and size', async () => {
    const runtime = createDeviceRuntime(await openNodeDevice())
    const device = testDevice as NonNullable<typeof testDevice>
    const count = Math.floor(device.gpu.limits.maxStorageBufferBindingSize / 4) + 64
    const arena = runtime.createArena(4 * count)
    const executable = await runtime.compile({ outputs: { y: add(input('x', 'float32', [count]), 1) } })
    const x = { arena, start: 0, count }
    expect(() => executable.bind({ x, y: x })).toThrow(
      /a tensor of add has \d+ MiB, and this GPU binds at most \d+ MiB/,
    )
    await runtime.close()
  })
})
