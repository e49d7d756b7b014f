/** Conformance of arena kernels: every formula is written out in float64. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { multiply } from '../../../core/graph/ops/elementwise.ts'
import { input } from '../../../core/graph/tensor.ts'
import { changeRange } from '../../contract/arena.ts'
import {
  type AdafactorRange,
  type AdamwRange,
  type ArenaKernels,
  adafactorStateSize,
  type Gate,
  type GateOptions,
} from '../../contract/arena-kernels.ts'
import { Arrays } from './arrays.ts'
import { addition, type Device, expectClose, random, randomFloats } from './device.ts'
import { PlainAdafactor } from './plain-adafactor.ts'

const open = { clip: 0 } as const
const adamwSettings = { first: 0.1, second: 0.05, beta1: 0.9, beta2: 0.95, size: 0.02, correction: 2.5, epsilon: 1e-6 }

export function describeArenaKernels(device: Device): void {
  describe('arena kernels:', () => {
    let kernels: ArenaKernels
    beforeAll(async () => {
      kernels = await device.runtime.createArenaKernels()
    })
    afterAll(() => kernels.close())

    async function gateOf(gradients: readonly Float32Array[], options: GateOptions): Promise<Gate> {
      const named = Object.fromEntries(gradients.map((values, i) => [`g${i}`, values]))
      const arrays = await Arrays.place(device.runtime, named)
      const gate = await kernels.gate(
        gradients.map((_, i) => arrays.range(`g${i}`)),
        options,
      )
      await device.runtime.synchronize()
      await arrays.expectOnly()
      return gate
    }

    const gradients = [1, 3, 1000, 70_001].map((count, i) => randomFloats(count, 10 ** -i))
    const norm = Math.sqrt(gradients.reduce((sum, values) => values.reduce((total, x) => total + x * x, sum), 0))

    test('the norm is the root of the sum of all squares', async () => {
      const gate = await gateOf(gradients, open)
      expectClose([gate.norm], [norm], 'norm')
      expect(gate.isOpen).toBe(true)
    })

    test('a norm above the limit is clipped', async () => {
      const clipped = await gateOf(gradients, { clip: norm / 4 })
      expectClose([clipped.scale, clipped.norm], [0.25, norm], 'clipped')
      expect(clipped.isOpen).toBe(true)
      for (const clip of [0, 2 * norm]) expect((await gateOf(gradients, { clip })).scale).toBe(1)
    })

    test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
      'a gate with a gradient of %d anywhere is not open',
      async (bad) => {
        for (const at of [0, 511, 999]) {
          const values = randomFloats(1000)
          values[at] = bad
          const gate = await gateOf([randomFloats(5), values], { clip: 1 })
          expect(gate.isOpen).toBe(false)
          expect(Number.isFinite(gate.norm)).toBe(false)
        }
      },
    )

    test('a closed gate is not open, and has the norm', async () => {
      const gate = await gateOf(gradients, { clip: 1, closed: true })
      expect(gate.isOpen).toBe(false)
      expectClose([gate.norm], [norm], 'norm')
    })

    /** Calls `use` with the output of a program that has been enqueued, whose numbers need not be computed yet. */
    async function enqueued<T>(values: readonly number[], use: (array: Float32Array) => Promise<T>): Promise<T> {
      const { runtime } = device
      const executable = await runtime.compile({ outputs: { y: multiply(input('x', 'float32', [values.length]), 1) } })
      const y = new Float32Array(values.length)
      const binding = executable.bind({ x: Float32Array.from(values), y })
      await binding.enqueue()
      const result = await use(y)
      await runtime.synchronize()
      binding.release()
      executable.release()
      return result
    }

    test.each([
      [[2.5], true],
      [[1, Number.NaN, 2], false],
      [[Number.POSITIVE_INFINITY], false],
      [[0, Number.NEGATIVE_INFINITY], false],
    ])('a gate is open only if other numbers, such as a loss, are finite too: %j', async (values, isOpen) => {
      const gate = await enqueued(values, (array) => gateOf(gradients, { clip: norm / 4, finite: [array] }))
      expect(gate.isOpen).toBe(isOpen)
      expectClose([gate.norm], [norm], 'norm')
    })

    test.each([1, 3, 64, 300])(
      'biases of %i experts move against their loads, if the gate is open',
      async (experts) => {
        const bias = randomFloats(experts)
        const known = Array.from({ length: experts }, (_, e) => (e * 7) % 5)
        const later = Array.from({ length: experts }, (_, e) => (e * 3) % 4)
        for (const [loads, more] of [
          [known, null],
          [known, later],
          [known.map(() => 2), null],
        ] as const) {
          const all = loads.map((load, e) => load + (more?.[e] ?? 0))
          const mean = all.reduce((sum, load) => sum + load, 0) / experts
          const arrays = await Arrays.place(device.runtime, { bias, g: Float32Array.of(1) })
          const range = { ...arrays.range('bias'), known: loads }
          for (const closed of [true, false]) {
            const gate = await kernels.gate([arrays.range('g')], { clip: 0, closed })
            await enqueued(more ?? [0], (array) => kernels.balance([{ ...range, enqueued: more && array }], 0.01, gate))
          }
          expectClose(
            await arrays.read('bias'),
            Float64Array.from(bias, (b, e) => b + 0.01 * Math.sign(mean - (all[e] as number))),
            'bias',
          )
          await arrays.expectOnly('bias')
        }
      },
    )

    test('a caller may give the sums of more ranges than these, and then knows the gate at once', async () => {
      let given: readonly number[] = []
      const all = async (sums: readonly number[]) => {
        given = sums
        return [9, 0, 4, 3]
      }
      const gate = await gateOf(gradients, { clip: 1, all })
      expectClose(
        given,
        gradients.map((values) => values.reduce((sum, x) => sum + x * x, 0)),
        'sums',
      )
      expect(gate).toMatchObject({ norm: 4, scale: 0.25, isOpen: true })
      for (const bad of [Number.POSITIVE_INFINITY, Number.NaN]) {
        const closed = await gateOf(gradients, { clip: 1, all: async () => [9, bad] })
        expect(closed.isOpen).toBe(false)
        expect(Number.isFinite(closed.norm)).toBe(false)
      }
    })

    test('the norm has the same bits, whichever ranges a rank sums and wherever they begin', async () => {
      const sums: number[] = []
      for (const [i, values] of gradients.entries()) {
        // An expert begins where the expert before it ends.
        const arrays = await Arrays.place(device.runtime, { all: new Float32Array([...randomFloats(i), ...values]) })
        const range = { ...arrays.range('all'), start: arrays.at.all + i, count: values.length }
        const all = async (own: readonly number[]) => {
          sums.push(...own)
          return own
        }
        await kernels.gate([range], { clip: 1, all })
      }
      const together = await gateOf(gradients, { clip: 1 })
      const apart = await gateOf(gradients.slice(0, 1), { clip: 1, all: async () => sums })
      expect(apart.norm).toBe(together.norm)
    })

    /** p, g, m and v of two ranges in an arena. */
    async function adamwCase(count: number) {
      const squares = () => randomFloats(count).map(Math.abs)
      const arrays = await Arrays.place(device.runtime, {
        ...{ p0: randomFloats(count), g0: randomFloats(count, 3), m0: randomFloats(count), v0: squares() },
        ...{ p1: randomFloats(count), g1: randomFloats(count, 3), m1: randomFloats(count), v1: squares() },
      })
      const { arena, at } = arrays
      const gradients = [arrays.range('g0'), arrays.range('g1')]
      const ranges: AdamwRange[] = [
        { arena, p: at.p0, g: at.g0, m: at.m0, v: at.v0, count, keep: 0.99, factor: 0.3 },
        { arena, p: at.p1, g: at.g1, m: at.m1, v: at.v1, count, keep: 1 },
      ]
      /** The numbers of both ranges, one after the other. */
      const read = async (name: 'p' | 'g' | 'm' | 'v') =>
        Float32Array.of(...(await arrays.read(`${name}0`)), ...(await arrays.read(`${name}1`)))
      return { arrays, ranges, gradients, read }
    }

    test.each([1, 5, 127, 1000, 20_011])('AdamW updates %i elements by its formula, clipped', async (count) => {
      const { arrays, ranges, gradients, read } = await adamwCase(count)
      const [p, g, m, v] = [await read('p'), await read('g'), await read('m'), await read('v')]
      const gate = await kernels.gate(gradients, { clip: 0.5 })
      await kernels.adamw(ranges, adamwSettings, gate)
      await device.runtime.synchronize()
      const { first, second, beta1, beta2, size, correction, epsilon } = adamwSettings
      const total = Math.sqrt(g.reduce((sum, x) => sum + x * x, 0))
      const scale = Math.min(1, 0.5 / total)
      const newM = Float64Array.from(m, (value, i) => beta1 * value + first * scale * (g[i] as number))
      const newV = Float64Array.from(v, (value, i) => beta2 * value + second * (scale * (g[i] as number)) ** 2)
      const newP = Float64Array.from(p, (value, i) => {
        const step = (size * (newM[i] as number)) / (correction * Math.sqrt(newV[i] as number) + epsilon)
        return i < count ? 0.99 * value - 0.3 * step : value - step
      })
      expectClose(await read('p'), newP, 'p')
      expectClose(await read('m'), newM, 'm')
      expectClose(await read('v'), newV, 'v')
      await arrays.expectOnly('p0', 'm0', 'v0', 'p1', 'm1', 'v1')
    })

    const shapes = [
      ['a matrix', 1, 5, 7],
      ['two matrices', 2, 33, 65],
      ['two matrices of several tiles', 2, 70, 264],
      ['a matrix of many rows', 1, 300, 67],
      ['a column', 1, 130, 1],
      ['a row', 1, 1, 70],
      ['three vectors', 3, null, 6],
      ['a long vector', 1, null, 3001],
    ] as const
    async function adafactorCase(count: number, rows: number | null, columns: number) {
      const size = (rows ?? 1) * columns
      const stateSize = adafactorStateSize(rows, columns)
      const arrays = await Arrays.place(device.runtime, {
        p: randomFloats(count * size),
        g: randomFloats(count * size, 0.1),
        state: new Float32Array(count * stateSize),
      })
      const { arena, at } = arrays
      const range: AdafactorRange = {
        arena,
        p: at.p,
        g: at.g,
        state: at.state,
        count,
        rows,
        columns,
        keep: 0.99,
        factor: 0.6,
      }
      return { arrays, range, size, stateSize }
    }

    test.each(shapes)('Adafactor updates %s by its formulas, clipped', async (_, count, rows, columns) => {
      const { arrays, range, size, stateSize } = await adafactorCase(count, rows, columns)
      const plain = Array.from({ length: count }, () => new PlainAdafactor(rows, columns))
      const p = Float64Array.from(await arrays.read('p'))
      for (const [beta, rate, clip] of [
        [0, 0.05, 0],
        [0.4, 0.02, 0.01],
      ] as const) {
        await changeRange(arrays.range('g'), (values) => values.set(randomFloats(values.length, rate)))
        const g = await arrays.read('g')
        const gate = await kernels.gate([arrays.range('g')], { clip })
        await kernels.adafactor([range], { beta, rate }, gate)
        await device.runtime.synchronize()
        const total = Math.sqrt(g.reduce((sum, x) => sum + x * x, 0))
        const scale = clip > 0 ? Math.min(1, clip / total) : 1
        plain.forEach((tensor, i) => {
          const part = Float64Array.from(g.subarray(i * size, (i + 1) * size), (x) => x * scale)
          tensor.update(p.subarray(i * size, (i + 1) * size), part, beta, 0.6 * rate, 0.99)
        })
      }
      expectClose(await arrays.read('p'), p, 'p')
      const state = await arrays.read('state')
      plain.forEach((tensor, i) => {
        const kept = state.subarray(i * stateSize, i * stateSize + tensor.means.length)
        expectClose(kept, tensor.means, 'state')
      })
    })

    test.each([0, 1e-25, 1e-12, 1e12])('a first step of Adafactor with gradients of about %d is finite', async (of) => {
      const { arrays, range } = await adafactorCase(1, 5, 7)
      const [p, g] = [Float64Array.from(await arrays.read('p')), randomFloats(35, of).fill(0, 14, 21)]
      await changeRange(arrays.range('g'), (values) => values.set(g))
      new PlainAdafactor(5, 7).update(p, Float64Array.from(g), 0.4, 0.6 * 0.02, 0.99)
      await kernels.adafactor([range], { beta: 0.4, rate: 0.02 }, await kernels.gate([arrays.range('g')], open))
      await device.runtime.synchronize()
      expectClose(await arrays.read('p'), p, 'p')
    })

    test.each([
      ['NaN in a gradient', Number.NaN, false],
      ['infinity in a gradient', Number.POSITIVE_INFINITY, false],
      ['a caller that closes it', 1, true],
    ])('a gate that is not open because of %s leaves parameters and moments as they are', async (_, value, closed) => {
      const { ranges, gradients, read } = await adamwCase(300)
      await changeRange(gradients[1] as (typeof gradients)[number], (values) => {
        values[17] = value
      })
      const all = async () => [await read('p'), await read('m'), await read('v')]
      const before = await all()
      await kernels.adamw(ranges, adamwSettings, await kernels.gate(gradients, { clip: 1, closed }))
      await device.runtime.synchronize()
      expect(await all()).toEqual(before)

      for (const [, count, rows, columns] of shapes) {
        const { arrays, range, stateSize } = await adafactorCase(count, rows, columns)
        const kept = async () => {
          const state = await arrays.read('state')
          const means = (rows ?? 0) + columns
          return Array.from({ length: count }, (_, i) => state.slice(i * stateSize, i * stateSize + means))
        }
        await kernels.adafactor([range], { beta: 0, rate: 0.1 }, await kernels.gate([arrays.range('g')], open))
        await device.runtime.synchronize()
        const [p, means] = [await arrays.read('p'), await kept()]
        await changeRange({ ...arrays.range('g'), count: 1 }, (values) => values.fill(value))
        const gate = await kernels.gate([arrays.range('g')], { clip: 1, closed })
        await kernels.adafactor([range], { beta: 0.5, rate: 0.1 }, gate)
        await device.runtime.synchronize()
        expect(await arrays.read('p')).toEqual(p)
        expect(await kept()).toEqual(means)
      }
    })

    test.each([1, 7, 131, 70_001])('add adds %i elements, each to its own', async (count) => {
      const [to, from] = [randomFloats(count), randomFloats(count)]
      const arrays = await Arrays.place(device.runtime, { to, from })
      const { arena, at } = arrays
      await kernels.add([{ arena, to: at.to, from: at.from, count }])
      await kernels.add([{ arena, to: at.to, from: at.from, count }])
      await device.runtime.synchronize()
      const twice = Float64Array.from(to, (value, i) => value + 2 * (from[i] as number))
      expectClose(await arrays.read('to'), twice, 'sum')
      await arrays.expectOnly('to')
    })

    test.each([1, 3, 4, 31, 130])('rows of width %i are added to rows of a table, also repeatedly', async (width) => {
      const [tableRows, rowCount] = [7, 50]
      const chosen = Int32Array.from({ length: rowCount }, () => Math.floor(Math.abs(random()) * tableRows))
      const table = randomFloats(tableRows * width)
      const rows = randomFloats(rowCount * width)
      const arrays = await Arrays.place(device.runtime, { table, rows, indices: new Float32Array(chosen.buffer) })
      const { arena, at } = arrays
      await kernels.scatterAddRows({ arena, ...at, tableRows, rowCount, width })
      await device.runtime.synchronize()
      const expected = Float64Array.from(table)
      chosen.forEach((to, r) => {
        for (let c = 0; c < width; c++)
          expected[to * width + c] = (expected[to * width + c] as number) + (rows[r * width + c] as number)
      })
      expectClose(await arrays.read('table'), expected, 'table')
      await arrays.expectOnly('table')
    })

    test('kernels and programs see the results of each other, in the order in which they were enqueued', async () => {
      const executable = await device.runtime.compile(addition('float32', 4))
      const arrays = await Arrays.place(device.runtime, { a: Float32Array.of(1, 2, 3, 4), b: new Float32Array(4) })
      const { arena, at } = arrays
      const y = new Float32Array(4)
      // b ← a + a, then a ← a + b, then y ← a + b.
      await executable.bind({ x: arrays.range('a'), b: arrays.range('a'), y: arrays.range('b') }).enqueue()
      await kernels.add([{ arena, to: at.a, from: at.b, count: 4 }])
      await executable.bind({ x: arrays.range('a'), b: arrays.range('b'), y }).enqueue()
      await device.runtime.synchronize()
      expect([...y]).toEqual([5, 10, 15, 20])
      executable.release()
    })
  })
}
