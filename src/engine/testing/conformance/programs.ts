/** Conformance of programs whose ports are arrays. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { matmul } from '../../../core/graph/ops/matmul.ts'
import { input } from '../../../core/graph/tensor.ts'
import { type Binding, type Buffer, RuntimeError } from '../../contract/runtime.ts'
import { addition, type Device, product, use } from './device.ts'

/** All ways to run a binding whose results are there without `synchronize`. */
const waysToRun = ({ has }: Device): ((binding: Binding) => unknown)[] => [
  (binding) => binding.run(),
  ...(has.sync ? [(binding: Binding) => binding.runSync()] : []),
]

export function describePrograms(device: Device): void {
  const { has } = device
  const float64: [string, Buffer, Buffer, Buffer][] = [
    ['float64', new Float64Array([1, 0.1]), new Float64Array([1e-12, 0.2]), new Float64Array([1 + 1e-12, 0.1 + 0.2])],
  ]
  const samples: [string, Buffer, Buffer, Buffer][] = [
    ['float32', new Float32Array([1, 2]), new Float32Array([0.5, -4]), new Float32Array([1.5, -2])],
    ['int32', new Int32Array([7, -1]), new Int32Array([1, -1]), new Int32Array([8, -2])],
    ...(has.float64 ? float64 : []),
  ]
  test.each(samples)('%s arrays are read and written', (dtype, x, b, expected) =>
    use(device, addition(dtype as 'float32', 2), async (executable) => {
      const y = x.slice()
      const binding = executable.bind({ x, b, y })
      for (const run of waysToRun(device)) {
        y.set(x as never)
        await run(binding)
        expect(y).toEqual(expected)
      }
    }),
  )

  test('a run sees the current contents of its inputs', () =>
    use(device, addition('float32', 1), async (executable) => {
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
        use(device, product(n), async (executable) => {
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
      // A GPU compiles a kernel for every size, and the tests of that kernel have other sizes.
      { numRuns: device.runtime.device === 'cpu' ? 20 : 4 },
    ))

  test('arrays of length zero and dimensions of size zero are bound and run', async () => {
    await use(device, addition('float32', 0), async (executable) => {
      const empty = new Float32Array(0)
      const binding = executable.bind({ x: empty, b: empty, y: empty })
      for (const run of waysToRun(device)) await run(binding)
    })
    const sumOfNothing = { outputs: { y: matmul(input('x', 'float32', [2, 0]), input('w', 'float32', [0, 2])) } }
    await use(device, sumOfNothing, async (executable) => {
      const y = new Float32Array(4).fill(9)
      await executable.bind({ x: new Float32Array(0), w: new Float32Array(0), y }).run()
      expect(y).toEqual(new Float32Array(4))
    })
  })

  test('an output may share the memory of an input', () =>
    use(device, addition('float32', 3), async (executable) => {
      const state = new Float32Array([1, 2, 3])
      const binding = executable.bind({ x: state, b: new Float32Array([1, 1, 1]), y: state })
      for (let i = 0; i < 5; i++) await binding.run()
      expect(state).toEqual(new Float32Array([6, 7, 8]))
    }))

  test('a view into a shared buffer is used, and nothing outside it is touched', () =>
    use(device, addition('float32', 2), async (executable) => {
      const all = new Float32Array(new SharedArrayBuffer(6 * 4)).fill(5)
      all.set([1, 2], 2)
      await executable.bind({ x: all.subarray(2, 4), b: new Float32Array([10, 10]), y: all.subarray(2, 4) }).run()
      expect(all).toEqual(new Float32Array([5, 5, 11, 12, 5, 5]))
    }))

  test('several bindings of several programs run at the same time', async () => {
    const { runtime } = device
    const programs = await Promise.all([1, 2, 3].map((length) => runtime.compile(addition('float32', length))))
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
    use(device, product(1024), async (executable) => {
      const large = () => new Float32Array(1024 * 1024)
      let turns = 0
      const timer = setInterval(() => turns++, 1)
      await executable.bind({ x: large(), w: large(), y: large() }).run()
      clearInterval(timer)
      expect(turns).toBeGreaterThan(0)
    }))

  test.each([
    ['a missing array', { x: 2, b: 2 }, /missing port: y .*Float32Array of 2 for float32\[2\]/],
    ['an unknown name', { x: 2, b: 2, y: 2, z: 2 }, /unknown port: z .*x, b, y/],
    ['a short array', { x: 2, b: 1, y: 2 }, /port b: Float32Array of 1 \(expected a Float32Array of 2/],
    ['a long array', { x: 2, b: 2, y: 3 }, /port y: Float32Array of 3 \(expected a Float32Array of 2/],
  ])('bind refuses %s and names the port', (_, lengths, message) =>
    use(device, addition('float32', 2), (executable) => {
      const buffers = Object.fromEntries(Object.entries(lengths).map(([key, n]) => [key, new Float32Array(n)]))
      expect(() => executable.bind(buffers)).toThrow(RuntimeError)
      expect(() => executable.bind(buffers)).toThrow(message)
    }),
  )

  test('bind refuses an array of another dtype and names the port', () =>
    use(device, addition('float32', 2), (executable) => {
      const x = new Float32Array(2)
      expect(() => executable.bind({ x, b: new Int32Array(2), y: x })).toThrow(
        /port b: Int32Array of 2 \(expected a Float32Array of 2 for float32\[2\]\)/,
      )
    }))

  test('released objects cannot be used, and a second release does nothing', async () => {
    const executable = await device.runtime.compile(addition('float32', 1))
    const buffers = { x: new Float32Array(1), b: new Float32Array(1), y: new Float32Array(1) }
    const first = executable.bind(buffers)
    const second = executable.bind(buffers)
    first.release()
    first.release()
    await expect(first.run()).rejects.toThrow(/released/)
    await expect(first.enqueue()).rejects.toThrow(/released/)
    await second.run()
    executable.release()
    executable.release()
    await expect(second.run()).rejects.toThrow(/released/)
    if (has.sync) expect(() => second.runSync()).toThrow(/released/)
    expect(() => executable.bind(buffers)).toThrow(/released/)
  })

  test('a release during a run waits for it, and the run succeeds', async () => {
    const n = 512
    const executable = await device.runtime.compile(product(n))
    const y = new Float32Array(n * n)
    const binding = executable.bind({ x: new Float32Array(n * n).fill(1), w: new Float32Array(n * n).fill(2), y })
    const run = binding.run()
    binding.release()
    executable.release()
    await run
    expect(y.every((v) => v === 2 * n)).toBe(true)
  })

  test('repeated runs give bitwise equal results', () =>
    use(device, product(150), async (executable) => {
      const sines = (a: number) => Float32Array.from({ length: 150 * 150 }, (_, i) => Math.sin(i * a))
      const y = new Float32Array(150 * 150)
      const binding = executable.bind({ x: sines(1.7), w: sines(2.3), y })
      await binding.run()
      const first = y.slice()
      for (let i = 0; i < 10; i++) {
        await binding.run()
        expect(y).toEqual(first)
      }
    }))

  if (!has.sync)
    test('a synchronous run is refused', () =>
      use(device, addition('float32', 1), (executable) => {
        const x = new Float32Array(1)
        const binding = executable.bind({ x, b: x, y: new Float32Array(1) })
        expect(() => binding.runSync()).toThrow(RuntimeError)
      }))
}
