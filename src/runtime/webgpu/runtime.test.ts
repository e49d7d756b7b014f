import { describe, expect, test } from 'vitest'
import { add } from '../../graph/ops/elementwise.ts'
import { matmul } from '../../graph/ops/matmul.ts'
import { input, withKernels } from '../../graph/tensor.ts'
import { describeRuntime } from '../testing/conformance.ts'
import type { Device } from './device.ts'
import { openNodeDevice } from './node.ts'
import { createDeviceRuntime } from './runtime.ts'
import { testDevice } from './testing/run-kernel.ts'

describe.skipIf(testDevice === null)('on the first adapter', () => {
  const has = { float64: false, sync: false, threads: false }
  describeRuntime('webgpu', async (options) => createDeviceRuntime(await openNodeDevice(), options), has)
  describeRuntime(
    'webgpu in f16',
    async (options) => createDeviceRuntime(await openNodeDevice(), { ...options, math: 'f16' }),
    has,
  )

  test('f16 is refused on a GPU without it, by field and value, with what to do', async () => {
    const device = await openNodeDevice()
    const lacking = {
      ...device,
      gpu: device.gpu,
      features: { ...device.features, f16: false },
      destroy: () => device.destroy(),
    }
    expect(() => createDeviceRuntime(lacking as unknown as Device, { math: 'f16' })).toThrow(
      /^invalid runtime\.math: "f16" on .*, which has no f16 \(expected "float32", or a GPU with .*shader-f16.*\)$/,
    )
    // The device is closed.
    expect((await device.gpu.lost).reason).toBe('destroyed')
  })

  test('results and the reported precision are those of f16', async () => {
    const runtime = createDeviceRuntime(await openNodeDevice(), { math: 'f16' })
    expect(runtime.math).toBe('f16')
    // 1 + 2⁻¹² is 1 in f16.
    const product = withKernels(runtime.kernels, () =>
      matmul(input('a', 'float32', [2, 4]), input('b', 'float32', [4, 2])),
    )
    const executable = await runtime.compile({ outputs: { y: product } })
    const y = new Float32Array(4)
    await executable.bind({ a: new Float32Array(8).fill(1 + 2 ** -12), b: new Float32Array(8).fill(1), y }).run()
    expect([...y]).toEqual([4, 4, 4, 4])
    await runtime.close()
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
