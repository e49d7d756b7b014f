/**
 * Tests of sessions with ONNX models that are written by hand: operators that no graph of ours contains, and failures.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Model } from '../../../core/graph/model.ts'
import { RuntimeError } from '../../contract/runtime.ts'
import { onnxModel, port } from '../../testing/onnx.ts'
import { compileSession } from './compile.ts'
import { acquireEnvironment, type Environment, releaseEnvironment } from './environment.ts'
import type { Session } from './session.ts'

let environment: Environment
beforeAll(() => {
  environment = acquireEnvironment()
})
afterAll(() => releaseEnvironment())

const compile = (model: Model): Promise<Session> =>
  compileSession(environment, model, { threads: 1, profile: false, onFreed() {} })

async function use<T>(model: Model, work: (session: Session) => T | Promise<T>): Promise<T> {
  const session = await compile(model)
  try {
    return await work(session)
  } finally {
    session.release()
  }
}

/** y = x + b, elementwise. */
function add(x: number, b: number, type = 'Add', layer = 'layers.7.norm'): Model {
  return onnxModel(
    [port('x', 'float32', [x]), port('b', 'float32', [b])],
    [port('y', 'float32', [b])],
    [{ type, inputs: ['x', 'b'], outputs: ['y'], origin: { op: type.toLowerCase(), layer } }],
  )
}

test('int64 arrays are read and written in place', () => {
  const int64 = (name: string) => port(name, 'int64', [2])
  const model = onnxModel([int64('x'), int64('b')], [int64('y')], [{ type: 'Add', inputs: ['x', 'b'], outputs: ['y'] }])
  return use(model, (session) => {
    const y = new BigInt64Array(2)
    session.bind({ x: new BigInt64Array([2n ** 53n, 0n]), b: new BigInt64Array([1n, -1n]), y }).runSync()
    expect(y).toEqual(new BigInt64Array([2n ** 53n + 1n, -1n]))
  })
})

test('bool arrays are read and written in place', () => {
  const model = onnxModel(
    [port('x', 'bool', [2])],
    [port('y', 'bool', [2])],
    [{ type: 'Not', inputs: ['x'], outputs: ['y'] }],
  )
  return use(model, (session) => {
    const y = new Uint8Array(2)
    session.bind({ x: new Uint8Array([1, 0]), y }).runSync()
    expect(y).toEqual(new Uint8Array([0, 1]))
  })
})

test('an invalid graph gives one error with the op and layer at fault', async () => {
  await expect(compile(add(2, 3))).rejects.toThrow(/^internal: invalid graph in add of layers\.7\.norm/)
  const unknown = add(2, 2, 'Frobnicate', 'layers.8')
  await expect(compile(unknown)).rejects.toThrow(/^internal: invalid graph in frobnicate of layers\.8/)
  await expect(compile({ ...unknown, bytes: new Uint8Array([1, 2, 3]) })).rejects.toThrow(RuntimeError)
})

test('a failing run reports the op and layer, and the binding can run again', () => {
  // An index outside the table fails at run time.
  const origin = { op: "gather'", layer: 'layers.1.router' }
  const gather = onnxModel(
    [port('table', 'float32', [3, 2]), port('index', 'int32', [2])],
    [port('y', 'float32', [2, 2])],
    [{ type: 'Gather', inputs: ['table', 'index'], outputs: ['y'], origin }],
  )
  return use(gather, async (session) => {
    const index = new Int32Array([0, 3])
    const y = new Float32Array(4)
    const binding = session.bind({ table: new Float32Array([1, 2, 3, 4, 5, 6]), index, y })
    await expect(binding.run()).rejects.toThrow(/^failed to run in gather' of layers\.1\.router/)
    expect(() => binding.runSync()).toThrow(RuntimeError)
    index[1] = 2
    await binding.run()
    expect(y).toEqual(new Float32Array([1, 2, 5, 6]))
  })
})

test('running out of memory is reported, and the session stays usable', () => {
  // y is the sum of x repeated `size` times, which takes `size` floats of intermediate memory.
  const repeatAndSum = onnxModel(
    [port('x', 'float32', [1]), port('size', 'int64', [1])],
    [port('y', 'float32', [1])],
    [
      { type: 'Expand', inputs: ['x', 'size'], outputs: ['many'], origin: { op: 'broadcast', layer: 'layers.0' } },
      { type: 'ReduceSum', inputs: ['many'], outputs: ['y'] },
    ],
  )
  return use(repeatAndSum, async (session) => {
    const size = new BigInt64Array([2n ** 42n])
    const y = new Float32Array(1)
    const binding = session.bind({ x: new Float32Array([1]), size, y })
    await expect(binding.run()).rejects.toThrow(/^out of memory in broadcast of layers\.0.*smaller/)
    size[0] = 8n
    await binding.run()
    expect(y[0]).toBe(8)
  })
})

test('a running binding refuses to run again', () =>
  use(add(1, 1), async (session) => {
    const x = new Float32Array(1)
    const binding = session.bind({ x, b: x, y: new Float32Array(1) })
    const first = binding.run()
    await expect(binding.run()).rejects.toThrow(/already running/)
    expect(() => binding.runSync()).toThrow(/already running/)
    await first
    await binding.run()
  }))
