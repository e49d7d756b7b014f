import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { leastGrowth } from '../../../test/support/memory-growth.ts'
import { add, negate, tanh } from '../../core/graph/ops/elementwise.ts'
import { softmax } from '../../core/graph/ops/fused.ts'
import { matmul } from '../../core/graph/ops/matmul.ts'
import type { Program } from '../../core/graph/program.ts'
import { input, type Tensor } from '../../core/graph/tensor.ts'
import { floatsOf } from '../contract/arena.ts'
import type { Runtime } from '../contract/runtime.ts'
import { createArena } from '../native/cpu-arena.ts'
import { product } from '../testing/conformance/device.ts'
import { describeRuntime } from '../testing/conformance.ts'
import { createRuntime } from './cpu-runtime.ts'

describeRuntime('onnxruntime', createRuntime, { float64: true, sync: true, threads: true })

const addOne: Program = { outputs: { y: add(input('x', 'float32', [4]), input('one', 'float32', [1])) } }

test('the runtime is a CPU, which has done enqueued work when the call resolves', async () => {
  const runtime = await createRuntime({ threads: 1 })
  expect(runtime).toMatchObject({ device: 'cpu', defers: false, maxArenaBytes: 2 ** 32 })
  const executable = await runtime.compile(addOne)
  const y = new Float32Array(4)
  await executable.bind({ x: new Float32Array([1, 2, 3, 4]), one: new Float32Array([1]), y }).enqueue()
  expect([...y]).toEqual([2, 3, 4, 5])
  await runtime.close()
})

test('a process ends without closing a runtime that it has not used', () => {
  const module = new URL('../../../dist/engine/cpu/cpu-runtime.js', import.meta.url)
  const code = `const { createRuntime } = await import(${JSON.stringify(module.href)})
    await createRuntime(); console.log('ended')`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { timeout: 10_000 })
  expect(output.toString()).toBe('ended\n')
})

test('another device is refused', async () => {
  await expect(createRuntime({ device: 'gpu' as 'cpu' })).rejects.toThrow(/invalid device: gpu .*cpu/)
})

test('memory beyond 2 GiB of an arena is read and written in place', async () => {
  const arena = createArena(3 * 2 ** 30)
  const range = { arena, start: arena.byteLength / 4 - 4, count: 4 }
  const x = floatsOf(range)
  x.set([1, 2, 3, 4])
  const runtime = await createRuntime()
  const executable = await runtime.compile(addOne)
  const one = new Float32Array([1])
  await executable.bind({ x, one, y: x }).run()
  expect([...x]).toEqual([2, 3, 4, 5])
  await executable.bind({ x: range, one, y: range }).run()
  expect([...x]).toEqual([3, 4, 5, 6])
  await runtime.close()
})

test('arrays that only a binding references survive garbage collection', async () => {
  const runtime = await createRuntime()
  const executable = await runtime.compile(addOne)
  const y = new Float32Array(4)
  const binding = executable.bind({ x: new Float32Array([1, 2, 3, 4]), one: new Float32Array([1]), y })
  // Enough garbage for many collections; each would reuse the memory of a collected array.
  for (let i = 0; i < 2000; i++) new Float32Array(25_000).fill(i)
  await new Promise((resolve) => setTimeout(resolve, 10))
  binding.runSync()
  expect([...y]).toEqual([2, 3, 4, 5])
  await runtime.close()
})

test('a graph of ten thousand nodes in a chain compiles and runs', async () => {
  const length = 10_000
  let chain: Tensor = input('x', 'float32', [1])
  for (let i = 0; i < length; i++) chain = negate(chain)
  const runtime = await createRuntime()
  const executable = await runtime.compile({ outputs: { y: chain } })
  const y = new Float32Array(1)
  const binding = executable.bind({ x: new Float32Array([3]), y })
  await binding.run()
  expect(y[0]).toBe(3)
  await runtime.close()
})

async function compileBindRun(runtime: Runtime, size: number): Promise<void> {
  const factor = input('x', 'float32', [size, size])
  const executable = await runtime.compile({ outputs: { y: softmax(tanh(matmul(factor, factor))) } })
  const x = new Float32Array(size * size)
  const binding = executable.bind({ x, y: new Float32Array(size * size) })
  await binding.run()
  binding.runSync()
  executable.release()
}

test('compiling, binding and running hundreds of programs does not leak memory', async () => {
  const runtime = await createRuntime({ threads: 2 })
  const size = (i: number) => 128 + ((i * 37) % 64)
  // Warm up until allocators and garbage collector reach a steady state.
  for (let i = 0; i < 200; i++) await compileBindRun(runtime, size(i))
  // Measured growth: up to 10 MiB, once 25; 54 MiB without releasing sessions.
  const grown = await leastGrowth(async () => {
    for (let i = 0; i < 400; i++) await compileBindRun(runtime, size(i))
  }, 25)
  await runtime.close()
  expect(grown).toBeLessThan(25)
})

test('binding and releasing tens of thousands of times does not leak memory', async () => {
  const runtime = await createRuntime({ threads: 1 })
  const executable = await runtime.compile(addOne)
  const buffers = { x: new Float32Array(4), one: new Float32Array(1), y: new Float32Array(4) }
  const bind = (times: number) => {
    for (let i = 0; i < times; i++) executable.bind(buffers).release()
  }
  bind(10_000)
  // Measured growth: 0 MiB; 16 MiB without releasing values.
  const grown = await leastGrowth(() => bind(50_000), 8)
  await runtime.close()
  expect(grown).toBeLessThan(8)
})

test('a profile has the nodes of ONNX Runtime with their work, and the events of the last run', async () => {
  const profiling = await createRuntime({ threads: 1, profile: true })
  const executable = await profiling.compile(product(64))
  const square = () => new Float32Array(64 * 64)
  const binding = executable.bind({ x: square(), w: square(), y: square() })
  for (let i = 0; i < 5; i++) await binding.run()
  executable.resetProfile()
  const begin = performance.timeOrigin + performance.now()
  for (let i = 0; i < 3; i++) await binding.run()
  const end = performance.timeOrigin + performance.now()
  const [node, ...otherNodes] = executable.profile().filter(({ kind }) => kind !== 'Run')
  expect(otherNodes).toEqual([])
  const work = { flops: 3 * 2 * 64 ** 3, bytes: 3 * 3 * 4 * 64 ** 2 }
  expect(node).toMatchObject({ kind: 'MatMul', op: 'matmul', layer: 'head', runs: 3, ...work })
  const [event, ...more] = executable.lastRun()
  expect(more).toEqual([])
  expect(event).toMatchObject({ thread: 0, op: 'matmul', layer: 'head' })
  // ONNX Runtime records whole microseconds.
  expect(event?.begin).toBeGreaterThan(begin - 0.01)
  expect(event?.end).toBeLessThan(end + 0.01)
  await profiling.close()
})

test('profiles leave no files', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'choir-test-'))
  for (const variable of ['TMPDIR', 'TEMP', 'TMP']) vi.stubEnv(variable, folder)
  onTestFinished(() => {
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true })
  })
  const runtime = await createRuntime({ profile: true })
  const read = await runtime.compile(addOne)
  const unread = await runtime.compile(addOne)
  expect(readdirSync(folder)).toHaveLength(2)
  read.profile()
  unread.release()
  await runtime.close()
  expect(readdirSync(folder)).toEqual([])
})
