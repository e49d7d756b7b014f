import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Runtime } from './contract.ts'
import { createArena } from './cpu-arena.ts'
import { createRuntime } from './cpu-runtime.ts'
import { describeRuntime } from './testing/conformance.ts'
import { onnxModel, port } from './testing/onnx.ts'

describeRuntime('onnxruntime', createRuntime)

const addOne = onnxModel(
  [port('x', 'float32', [4]), port('one', 'float32', [1])],
  [port('y', 'float32', [4])],
  [{ type: 'Add', inputs: ['x', 'one'], outputs: ['y'] }],
)

test('memory beyond 2 GiB of an arena is read and written in place', async () => {
  const arena = createArena(3 * 2 ** 30)
  const x = arena.floats(arena.byteLength / 4 - 4, 4)
  x.set([1, 2, 3, 4])
  const runtime = await createRuntime()
  const executable = await runtime.compile(addOne)
  await executable.bind({ x, one: new Float32Array([1]), y: x }).run()
  expect([...x]).toEqual([2, 3, 4, 5])
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
  const model = onnxModel(
    [port('x', 'float32', [1])],
    [port('y', 'float32', [1])],
    Array.from({ length }, (_, i) => ({
      type: 'Neg',
      inputs: [i === 0 ? 'x' : `t${i}`],
      outputs: [i === length - 1 ? 'y' : `t${i + 1}`],
    })),
  )
  const runtime = await createRuntime()
  const executable = await runtime.compile(model)
  const y = new Float32Array(1)
  const binding = executable.bind({ x: new Float32Array([3]), y })
  await binding.run()
  expect(y[0]).toBe(3)
  await runtime.close()
})

async function compileBindRun(runtime: Runtime, size: number): Promise<void> {
  const model = onnxModel(
    [port('x', 'float32', [size, size])],
    [port('y', 'float32', [size, size])],
    [
      { type: 'MatMul', inputs: ['x', 'x'], outputs: ['a'] },
      { type: 'Tanh', inputs: ['a'], outputs: ['b'] },
      { type: 'Softmax', inputs: ['b'], outputs: ['y'] },
    ],
  )
  const executable = await runtime.compile(model)
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
  const before = process.memoryUsage.rss()
  for (let i = 0; i < 400; i++) await compileBindRun(runtime, size(i))
  const grown = (process.memoryUsage.rss() - before) / 2 ** 20
  await runtime.close()
  // Measured: up to 10; 54 without releasing sessions.
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
  const before = process.memoryUsage.rss()
  bind(50_000)
  const grown = (process.memoryUsage.rss() - before) / 2 ** 20
  await runtime.close()
  // Measured: 0; 16 without releasing values.
  expect(grown).toBeLessThan(8)
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
