/**
 * The conformance suite of runtimes: a new device calls it with its way to create a runtime. Programs are built with
 * the ops of the graph, and results are computed by hand or in float64.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Runtime } from '../contract/runtime.ts'
import { describeArenaKernels } from './conformance/arena-kernels.ts'
import { addition, type Device, type Has, product } from './conformance/device.ts'
import { describeMemory } from './conformance/memory.ts'
import { describePrograms } from './conformance/programs.ts'

/**
 * @param create Creates a runtime. It is called with two threads for most tests, if the runtime has a choice.
 * @param has Capabilities of the runtime; tests of other capabilities are left out.
 */
export function describeRuntime(name: string, create: Device['create'], has: Has): void {
  describe(`${name} keeps the contract of a runtime:`, () => {
    let runtime: Runtime
    beforeAll(async () => {
      runtime = await create(has.threads ? { threads: 2 } : {})
    })
    afterAll(() => runtime.close())
    const device: Device = {
      get runtime() {
        return runtime
      },
      has,
      create,
    }

    test('it reports its name, device, version, threads and the limit of its arenas', () => {
      expect(runtime.name).not.toBe('')
      expect(['cpu', 'webgpu']).toContain(runtime.device)
      expect(runtime.version).not.toBe('')
      expect(runtime.threads).toBeGreaterThan(0)
      if (has.threads) expect(runtime.threads).toBe(2)
      expect(runtime.maxArenaBytes).toBeGreaterThanOrEqual(2 ** 27)
    })

    describePrograms(device)
    describeMemory(device)
    describeArenaKernels(device)

    test('closing waits for runs and compilations, releases all executables, and can be repeated', async () => {
      const other = await create()
      const executable = await other.compile(product(512))
      const large = () => new Float32Array(512 * 512)
      const y = large()
      const binding = executable.bind({ x: large().fill(1), w: large().fill(1), y })
      const run = binding.run()
      const late = other.compile(addition('float32', 1))
      await other.close()
      await other.close()
      await run
      expect(y[0]).toBe(512)
      await expect(binding.run()).rejects.toThrow(/released/)
      const unusable = await late
      expect(() => unusable.bind({})).toThrow(/released/)
      await expect(other.compile(addition('float32', 1))).rejects.toThrow(/closed/)
    })

    test('a profile has the op and layer of each computation, and its runs since the last reset', async () => {
      const profiling = await create({ profile: true })
      const executable = await profiling.compile(product(64))
      const square = () => new Float32Array(64 * 64)
      const binding = executable.bind({ x: square(), w: square(), y: square() })
      for (let i = 0; i < 5; i++) await binding.run()
      executable.resetProfile()
      const begin = performance.timeOrigin + performance.now()
      for (let i = 0; i < 3; i++) await binding.run()
      const end = performance.timeOrigin + performance.now()
      const profile = executable.profile()
      const [node, ...others] = profile.filter(({ op }) => op === 'matmul')
      expect(others).toEqual([])
      expect(node).toMatchObject({ layer: 'head', runs: 3 })
      expect(node?.microseconds).toBeGreaterThan(0)
      const all = profile.reduce((sum, { microseconds }) => sum + microseconds, 0)
      expect(all).toBeLessThanOrEqual(1000 * (end - begin))
      await binding.run()
      expect(executable.profile()).toEqual(profile)
      await profiling.close()
    })

    test('without profiling there is no profile', async () => {
      const executable = await runtime.compile(addition('float32', 1))
      expect(() => executable.profile()).toThrow(/profile: true/)
      executable.release()
    })

    if (has.threads)
      test('an invalid number of threads is refused with what is accepted', async () => {
        for (const threads of [0, -1, 1.5, Number.NaN])
          await expect(create({ threads })).rejects.toThrow(/invalid threads: .*at least 1/)
      })
  })
}
