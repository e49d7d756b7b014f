/** @slow */
import { describe, expect, test, vi } from 'vitest'
import { add } from '../../core/graph/ops/elementwise.ts'
import { matmul } from '../../core/graph/ops/matmul.ts'
import { sum } from '../../core/graph/ops/reduction.ts'
import { input, withKernels } from '../../core/graph/tensor.ts'
import { openNodeDevice } from '../dawn/node-device.ts'
import { describeRuntime } from '../testing/conformance.ts'
import type { Device } from './device.ts'
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

  test('a software device is slower than a GPU, which is all that a page can choose, or than the given choice', async () => {
    const device = await openNodeDevice()
    const software = (options: Parameters<typeof createDeviceRuntime>[1]) => {
      const adapter = { ...device.adapter, name: 'SwiftShader', software: true }
      return createDeviceRuntime({ ...device, gpu: device.gpu, adapter } as unknown as Device, options).notice
    }
    expect(software({})).toBe('SwiftShader computes on the processor, slower than a GPU')
    expect(software({ faster: 'runtime.device "cpu"' })).toMatch(/, slower than runtime\.device "cpu"$/)
    device.destroy()
  })

  test('results have the precision of f16, which the runtime reports', async () => {
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

  test.each([
    ['memory that is not there', allocateTooMuch, /^out of memory on the GPU \(use a smaller train.batch, .*\)$/],
    ['an invalid command', useWrongly, /^internal: the GPU refused a command: .*CreateBuffer.*$/],
  ] as const)('%s is reported on one line, and later runs work', async (_, fault, message) => {
    const device = await openNodeDevice()
    const runtime = createDeviceRuntime(device)
    fault(device.gpu)
    const program = { outputs: { y: add(input('x', 'float32', [2]), 1) } }
    await expect(runtime.compile(program), 'before kernels are compiled').rejects.toThrow(message)
    const executable = await runtime.compile(program)
    const y = new Float32Array(2)
    const binding = executable.bind({ x: Float32Array.of(1, 2), y })
    fault(device.gpu)
    await expect(binding.run()).rejects.toThrow(message)
    await binding.run()
    expect([...y]).toEqual([2, 3])
    await runtime.close()
  })

  test('values that do not fit into a buffer are refused before kernels are compiled', async () => {
    const device = await openNodeDevice()
    const compiled = vi.spyOn(device, 'compile')
    const runtime = createDeviceRuntime(device)
    const rows = Math.ceil(Math.sqrt(device.gpu.limits.maxBufferSize / 4)) + 1
    const products = matmul(input('x', 'float32', [rows, 2]), input('y', 'float32', [2, rows]))
    await expect(runtime.compile({ outputs: { total: sum(products) } })).rejects.toThrow(
      /^out of memory: the activations of a micro-batch need .* GiB .*train.microBatches/,
    )
    expect(compiled).not.toHaveBeenCalled()
    await runtime.close()
  })

  test.each([false, true])(
    'outputs can be read while later ones are not computed yet (profiled: %s)',
    async (profile) => {
      const runtime = createDeviceRuntime(await openNodeDevice(), { profile })
      const arena = runtime.createArena(4 * 192)
      const at = (start: number, count: number) => ({ arena, start, count })
      const x = input('x', 'float32', [2, 2])
      const executable = await runtime.compile({ outputs: { total: sum(x), product: matmul(x, x) } })
      const early = ['total', 'product'].map((name) => ({ after: [name], channel: 0, transfers: [] }))
      const ports = { x: at(0, 4), total: at(64, 1), product: at(128, 4) }
      const binding = executable.bind(ports, undefined, { early })
      await arena.write(0, Float32Array.of(1, 2, 3, 4))
      await arena.write(64, Float32Array.of(-1))
      await arena.write(128, new Float32Array(4).fill(-1))
      const order: number[] = []
      const reads: Promise<Float32Array>[] = []
      const complete = (exchange: number) => {
        order.push(exchange)
        reads.push(arena.read(64, 68))
      }
      await binding.enqueue({ complete })
      const [before, after] = (await Promise.all(reads)).map((values) => [[values[0]], [...values.subarray(64)]])
      const computed = [[10], [7, 10, 15, 22]]
      const [first = 0, last = 1] = order
      expect(before?.[first]).toEqual(computed[first])
      expect(after).toEqual(computed)
      expect(before?.[last]).toEqual(computed[last]?.map(() => -1))
      await binding.enqueue()
      await runtime.synchronize()
      expect(order).toHaveLength(2)
      await runtime.close()
    },
  )

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

/** Allocates 128 GiB, which the driver refuses. */
const allocateTooMuch = (gpu: GPUDevice): void => {
  const usage = GPUTextureUsage.COPY_DST
  gpu.createTexture({ size: [2048, 2048, 2048], dimension: '3d', format: 'rgba32float', usage })
}

const useWrongly = (gpu: GPUDevice): void => {
  gpu.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE })
}
