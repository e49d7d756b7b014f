/**
 * The conformance suite of runtimes: a new engine calls it with its `createRuntime`. Models are written by hand
 * and results computed by hand.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DType, Model } from '../../graph/model.ts'
import { type Buffer, type Executable, type Runtime, RuntimeError, type RuntimeOptions } from '../contract.ts'
import { onnxModel, port } from './onnx.ts'

type Create = (options: RuntimeOptions) => Promise<Runtime>

/** y = x + b, elementwise. */
function add(dtype: DType, length: number): Model {
  const shape = [length]
  return onnxModel(
    [port('x', dtype, shape), port('b', dtype, shape)],
    [port('y', dtype, shape)],
    [{ type: 'Add', inputs: ['x', 'b'], outputs: ['y'], origin: { op: 'add', layer: 'layers.3' } }],
  )
}

/** y = x · w, for square matrices. */
function matmul(n: number): Model {
  return onnxModel(
    [port('x', 'float32', [n, n]), port('w', 'float32', [n, n])],
    [port('y', 'float32', [n, n])],
    [{ type: 'MatMul', inputs: ['x', 'w'], outputs: ['y'], origin: { op: 'matmul', layer: 'head' } }],
  )
}

/** Rows of a table; an index outside it fails at run time. */
const gather = onnxModel(
  [port('table', 'float32', [3, 2]), port('index', 'int32', [2])],
  [port('y', 'float32', [2, 2])],
  [{ type: 'Gather', inputs: ['table', 'index'], outputs: ['y'], origin: { op: "gather'", layer: 'layers.1.router' } }],
)

/** y = sum of x repeated `size` times: `size` floats of intermediate memory. */
const repeatAndSum = onnxModel(
  [port('x', 'float32', [1]), port('size', 'int64', [1])],
  [port('y', 'float32', [1])],
  [
    { type: 'Expand', inputs: ['x', 'size'], outputs: ['many'], origin: { op: 'broadcast', layer: 'layers.0' } },
    { type: 'ReduceSum', inputs: ['many'], outputs: ['y'] },
  ],
)

export function describeRuntime(name: string, create: Create): void {
  describe(`${name} keeps the contract of a runtime:`, () => {
    let runtime: Runtime
    beforeAll(async () => {
      runtime = await create({ threads: 2 })
    })
    afterAll(() => runtime.close())

    async function use<T>(model: Model, work: (executable: Executable) => T | Promise<T>): Promise<T> {
      const executable = await runtime.compile(model)
      try {
        return await work(executable)
      } finally {
        executable.release()
      }
    }

    test('it reports its name, version and threads', () => {
      expect(runtime.name).not.toBe('')
      expect(runtime.version).toMatch(/^\d+\.\d+/)
      expect(runtime.threads).toBe(2)
    })

    const samples: readonly (readonly [DType, Buffer, Buffer, Buffer])[] = [
      ['float32', new Float32Array([1, 2]), new Float32Array([0.5, -4]), new Float32Array([1.5, -2])],
      ['float64', new Float64Array([1, 0.1]), new Float64Array([1e-12, 0.2]), new Float64Array([1 + 1e-12, 0.1 + 0.2])],
      ['int32', new Int32Array([7, -1]), new Int32Array([1, -1]), new Int32Array([8, -2])],
      [
        'int64',
        new BigInt64Array([2n ** 53n, 0n]),
        new BigInt64Array([1n, -1n]),
        new BigInt64Array([2n ** 53n + 1n, -1n]),
      ],
    ]
    test.each(samples)('%s arrays are read and written in place', (dtype, x, b, expected) =>
      use(add(dtype, 2), async (executable) => {
        const y = x.slice()
        const binding = executable.bind({ x, b, y })
        await binding.run()
        expect(y).toEqual(expected)
        y.set(x as never)
        binding.runSync()
        expect(y).toEqual(expected)
      }),
    )

    test('bool arrays are read and written in place', () => {
      const model = onnxModel(
        [port('x', 'bool', [2])],
        [port('y', 'bool', [2])],
        [{ type: 'Not', inputs: ['x'], outputs: ['y'] }],
      )
      return use(model, (executable) => {
        const y = new Uint8Array(2)
        executable.bind({ x: new Uint8Array([1, 0]), y }).runSync()
        expect(y).toEqual(new Uint8Array([0, 1]))
      })
    })

    test('a run sees the current contents of its inputs', () =>
      use(add('float32', 1), async (executable) => {
        const x = new Float32Array(1)
        const y = new Float32Array(1)
        const binding = executable.bind({ x, b: new Float32Array([1]), y })
        for (const value of [1, 2, 3]) {
          x[0] = value
          await binding.run()
          expect(y[0]).toBe(value + 1)
        }
      }))

    test('a matrix product equals the sum of products, for any size', () =>
      fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 24 }), fc.integer(), (n, seed) =>
          use(matmul(n), async (executable) => {
            // Small integers, so that every order of summation gives the same float.
            const integers = (start: number) =>
              Float32Array.from({ length: n * n }, (_, i) => (((i + start) * 7919) % 11) - 5)
            const [x, w, y] = [integers(seed % 11), integers((seed % 13) + 3), new Float32Array(n * n)]
            await executable.bind({ x, w, y }).run()
            const expected = y.map((_, at) => {
              let sum = 0
              for (let k = 0; k < n; k++)
                sum += (x[Math.floor(at / n) * n + k] ?? Number.NaN) * (w[k * n + (at % n)] ?? Number.NaN)
              return sum
            })
            expect(y).toEqual(expected)
          }),
        ),
        { numRuns: 20 },
      ))

    test('arrays of length zero and dimensions of size zero are bound and run', async () => {
      await use(add('float32', 0), (executable) => {
        const empty = new Float32Array(0)
        const binding = executable.bind({ x: empty, b: empty, y: empty })
        binding.runSync()
        return binding.run()
      })
      const sumOfNothing = onnxModel(
        [port('x', 'float32', [2, 0]), port('w', 'float32', [0, 2])],
        [port('y', 'float32', [2, 2])],
        [{ type: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
      )
      await use(sumOfNothing, (executable) => {
        const y = new Float32Array(4).fill(9)
        executable.bind({ x: new Float32Array(0), w: new Float32Array(0), y }).runSync()
        expect(y).toEqual(new Float32Array(4))
      })
    })

    test('an output may share the memory of an input', () =>
      use(add('float32', 3), async (executable) => {
        const state = new Float32Array([1, 2, 3])
        const binding = executable.bind({ x: state, b: new Float32Array([1, 1, 1]), y: state })
        for (let i = 0; i < 5; i++) await binding.run()
        expect(state).toEqual(new Float32Array([6, 7, 8]))
      }))

    test('a view into a shared buffer is used in place, and nothing outside it is touched', () =>
      use(add('float32', 2), async (executable) => {
        const all = new Float32Array(new SharedArrayBuffer(6 * 4)).fill(5)
        await executable.bind({ x: all.subarray(2, 4), b: new Float32Array(2), y: all.subarray(3, 5) }).run()
        all.set([1, 2], 2)
        await executable.bind({ x: all.subarray(2, 4), b: new Float32Array([10, 10]), y: all.subarray(2, 4) }).run()
        expect(all).toEqual(new Float32Array([5, 5, 11, 12, 5, 5]))
      }))

    test('several bindings of several programs run at the same time', async () => {
      const programs = await Promise.all([1, 2, 3].map((length) => runtime.compile(add('float32', length))))
      const runs = programs.flatMap((executable, i) =>
        [10, 20].map((value) => {
          const y = new Float32Array(i + 1)
          const fill = (v: number) => new Float32Array(i + 1).fill(v)
          return { y, value, binding: executable.bind({ x: fill(value), b: fill(1), y }) }
        }),
      )
      for (let round = 0; round < 10; round++) await Promise.all(runs.map(({ binding }) => binding.run()))
      for (const { y, value } of runs) expect(y.every((v) => v === value + 1)).toBe(true)
      for (const executable of programs) executable.release()
    })

    test('the JavaScript thread stays free during a run', () =>
      use(matmul(1024), async (executable) => {
        const large = () => new Float32Array(1024 * 1024)
        let turns = 0
        const timer = setInterval(() => turns++, 1)
        await executable.bind({ x: large(), w: large(), y: large() }).run()
        clearInterval(timer)
        expect(turns).toBeGreaterThan(0)
      }))

    test('a running binding refuses to run again', () =>
      use(add('float32', 1), async (executable) => {
        const x = new Float32Array(1)
        const binding = executable.bind({ x, b: x, y: new Float32Array(1) })
        const first = binding.run()
        await expect(binding.run()).rejects.toThrow(/already running/)
        expect(() => binding.runSync()).toThrow(/already running/)
        await first
        await binding.run()
      }))

    test.each([
      ['a missing array', { x: 2, b: 2 }, /missing port: y .*Float32Array of 2 for float32\[2\]/],
      ['an unknown name', { x: 2, b: 2, y: 2, z: 2 }, /unknown port: z .*x, b, y/],
      ['a short array', { x: 2, b: 1, y: 2 }, /port b: Float32Array of 1 \(expected a Float32Array of 2/],
      ['a long array', { x: 2, b: 2, y: 3 }, /port y: Float32Array of 3 \(expected a Float32Array of 2/],
    ])('bind refuses %s and names the port', (_, lengths, message) =>
      use(add('float32', 2), (executable) => {
        const buffers = Object.fromEntries(Object.entries(lengths).map(([key, n]) => [key, new Float32Array(n)]))
        expect(() => executable.bind(buffers)).toThrow(RuntimeError)
        expect(() => executable.bind(buffers)).toThrow(message)
      }),
    )

    test('bind refuses an array of another dtype and names the port', () =>
      use(add('float32', 2), (executable) => {
        const x = new Float32Array(2)
        expect(() => executable.bind({ x, b: new Int32Array(2), y: x })).toThrow(
          /port b: Int32Array of 2 \(expected a Float32Array of 2 for float32\[2\]\)/,
        )
      }))

    test('an invalid graph gives one error with the op and layer at fault', async () => {
      const mismatch = onnxModel(
        [port('x', 'float32', [2]), port('b', 'float32', [3])],
        [port('y', 'float32', [3])],
        [{ type: 'Add', inputs: ['x', 'b'], outputs: ['y'], origin: { op: 'add', layer: 'layers.7.norm' } }],
      )
      const unknown = onnxModel(
        [port('x', 'float32', [2])],
        [port('y', 'float32', [2])],
        [{ type: 'Frobnicate', inputs: ['x'], outputs: ['y'], origin: { op: 'frobnicate', layer: 'layers.8' } }],
      )
      await expect(runtime.compile(mismatch)).rejects.toThrow(/^internal: invalid graph in add of layers\.7\.norm/)
      await expect(runtime.compile(unknown)).rejects.toThrow(/^internal: invalid graph in frobnicate of layers\.8/)
      const garbage = { ...mismatch, bytes: new Uint8Array([1, 2, 3]) }
      await expect(runtime.compile(garbage)).rejects.toThrow(RuntimeError)
    })

    test('a failing run reports the op and layer, and the binding can run again', () =>
      use(gather, async (executable) => {
        const index = new Int32Array([0, 3])
        const y = new Float32Array(4)
        const binding = executable.bind({ table: new Float32Array([1, 2, 3, 4, 5, 6]), index, y })
        await expect(binding.run()).rejects.toThrow(/^failed to run in gather' of layers\.1\.router/)
        expect(() => binding.runSync()).toThrow(RuntimeError)
        index[1] = 2
        await binding.run()
        expect(y).toEqual(new Float32Array([1, 2, 5, 6]))
      }))

    test('running out of memory is reported, and the runtime stays usable', () =>
      use(repeatAndSum, async (executable) => {
        const size = new BigInt64Array([2n ** 42n])
        const y = new Float32Array(1)
        const binding = executable.bind({ x: new Float32Array([1]), size, y })
        await expect(binding.run()).rejects.toThrow(/^out of memory in broadcast of layers\.0.*smaller/)
        size[0] = 8n
        await binding.run()
        expect(y[0]).toBe(8)
      }))

    test('released objects cannot be used, and a second release does nothing', async () => {
      const executable = await runtime.compile(add('float32', 1))
      const buffers = { x: new Float32Array(1), b: new Float32Array(1), y: new Float32Array(1) }
      const first = executable.bind(buffers)
      const second = executable.bind(buffers)
      first.release()
      first.release()
      await expect(first.run()).rejects.toThrow(/released/)
      expect(() => first.runSync()).toThrow(/released/)
      second.runSync()
      executable.release()
      executable.release()
      expect(() => second.runSync()).toThrow(/released/)
      expect(() => executable.bind(buffers)).toThrow(/released/)
    })

    test('a release during a run waits for it, and the run succeeds', async () => {
      const n = 512
      const executable = await runtime.compile(matmul(n))
      const y = new Float32Array(n * n)
      const binding = executable.bind({ x: new Float32Array(n * n).fill(1), w: new Float32Array(n * n).fill(2), y })
      const run = binding.run()
      binding.release()
      executable.release()
      await run
      expect(y.every((v) => v === 2 * n)).toBe(true)
    })

    test('closing waits for runs and compilations, releases all executables, and can be repeated', async () => {
      const other = await create({ threads: 1 })
      const executable = await other.compile(matmul(512))
      const large = () => new Float32Array(512 * 512)
      const y = large()
      const binding = executable.bind({ x: large().fill(1), w: large().fill(1), y })
      const run = binding.run()
      const late = other.compile(add('float32', 1))
      await other.close()
      await other.close()
      await run
      expect(y[0]).toBe(512)
      expect(() => binding.runSync()).toThrow(/released/)
      const unusable = await late
      expect(() => unusable.bind({})).toThrow(/released/)
      await expect(other.compile(add('float32', 1))).rejects.toThrow(/closed/)
    })

    test('repeated runs give bitwise equal results', () =>
      use(matmul(150), async (executable) => {
        const random = (a: number) => Float32Array.from({ length: 150 * 150 }, (_, i) => Math.sin(i * a))
        const y = new Float32Array(150 * 150)
        const binding = executable.bind({ x: random(1.7), w: random(2.3), y })
        await binding.run()
        const first = y.slice()
        for (let i = 0; i < 10; i++) {
          await binding.run()
          expect(y).toEqual(first)
        }
      }))

    test('a profile has the runs, op and layer of each node', async () => {
      const profiling = await create({ threads: 1, profile: true })
      const executable = await profiling.compile(matmul(64))
      const square = () => new Float32Array(64 * 64)
      const binding = executable.bind({ x: square(), w: square(), y: square() })
      for (let i = 0; i < 7; i++) await binding.run()
      const profile = executable.profile()
      const [node, ...otherNodes] = profile.filter(({ kind }) => kind !== 'Run')
      expect(otherNodes).toEqual([])
      expect(node).toMatchObject({ kind: 'MatMul', op: 'matmul', layer: 'head', runs: 7 })
      expect(node?.microseconds).toBeGreaterThan(0)
      await binding.run()
      expect(executable.profile()).toEqual(profile)
      await profiling.close()
    })

    test('a profile restarts when it is reset, and has the work and the last run', async () => {
      const profiling = await create({ threads: 1, profile: true })
      const executable = await profiling.compile(matmul(64))
      const square = () => new Float32Array(64 * 64)
      const binding = executable.bind({ x: square(), w: square(), y: square() })
      for (let i = 0; i < 5; i++) await binding.run()
      executable.resetProfile()
      const begin = performance.timeOrigin + performance.now()
      for (let i = 0; i < 3; i++) await binding.run()
      const end = performance.timeOrigin + performance.now()
      const profile = executable.profile()
      const [node, ...otherNodes] = profile.filter(({ kind }) => kind !== 'Run')
      expect(otherNodes).toEqual([])
      expect(node).toMatchObject({ runs: 3, flops: 3 * 2 * 64 ** 3, bytes: 3 * 3 * 4 * 64 ** 2 })
      const all = profile.reduce((sum, { microseconds }) => sum + microseconds, 0)
      expect(all).toBeLessThanOrEqual(1000 * (end - begin))
      const [event, ...more] = executable.lastRun()
      expect(more).toEqual([])
      expect(event).toMatchObject({ thread: 0, op: 'matmul', layer: 'head' })
      // ONNX Runtime records whole microseconds.
      expect(event?.begin).toBeGreaterThan(begin - 0.01)
      expect(event?.end).toBeLessThan(end + 0.01)
      await profiling.close()
    })

    test('without profiling there is no profile', () =>
      use(add('float32', 1), (executable) => expect(() => executable.profile()).toThrow(/profile: true/)))

    test('invalid options are refused with what is accepted', async () => {
      for (const threads of [0, -1, 1.5, Number.NaN])
        await expect(create({ threads })).rejects.toThrow(/invalid threads: .*at least 1/)
      await expect(create({ device: 'gpu' as 'cpu' })).rejects.toThrow(/invalid device: gpu .*cpu/)
    })
  })
}
