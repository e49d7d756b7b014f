import { describe, expect, test } from 'vitest'
import { adafactorStateSize } from '../../../contract/arena-kernels.ts'
import type { Device } from '../../device.ts'
import { inPlace } from '../../testing/in-place.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { expectSums, Random, vector } from '../../testing/tensors.ts'
import { adafactorDispatches } from './adafactor.ts'

const device = testDevice as Device
/** Time limit of a test, ms; software adapters take seconds to compile a kernel with many barriers. */
const COMPILATION = 60_000
const [SCALE, BETA, RATE, KEEP] = [0.5, 0.75, 0.01, 0.99]
const FLOOR = 1e-30

interface AdafactorShape {
  readonly count: number
  /** Number of rows; null for vectors. */
  readonly rows: number | null
  readonly columns: number
}

const adafactor = inPlace(['p', 'g', 'state', 'settings', 'gate'], adafactorDispatches)

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, x) => total + x, 0)

function tensors({ count, rows, columns }: AdafactorShape) {
  const random = new Random()
  const shape = rows === null ? [count, columns] : [count, rows, columns]
  const size = (rows ?? 1) * columns
  const stateSize = adafactorStateSize(rows, columns)
  // Gradients of different size in each row and column, and a row of zeros.
  const gradient = (i: number) => {
    const [r, c] = [Math.floor((i % size) / columns), i % columns]
    return r === 2 ? 0 : random.number() * 2 ** ((r % 5) - (c % 3))
  }
  return {
    size,
    stateSize,
    p: random.floats(shape),
    g: random.floats(shape, gradient),
    state: random.floats([count, stateSize], () => 0.1 + Math.abs(random.number())),
  }
}

async function update({ p, g, state }: ReturnType<typeof tensors>, open: 0 | 1 = 1) {
  const outputs = { p, g, state, settings: vector(BETA, RATE, KEEP), gate: vector(123, SCALE, open, 0) }
  const { settings, gate, ...results } = await runKernel(device, adafactor, { inputs: {}, outputs })
  return results
}

/** The terms of each element in the update of a direction, which is clipped at a root mean square of 1. */
function updated(p: Float32Array, direction: Float64Array) {
  const size = RATE / Math.max(1, Math.sqrt(sum(direction.map((x) => x * x)) / p.length))
  return (i: number) => [KEEP * (p[i] as number), -size * (direction[i] as number)]
}

/** Algorithm 4, in float64: means of rows and columns after the step, and the update. */
function matrixUpdate(p: Float32Array, g: Float32Array, state: Float32Array, rows: number, columns: number) {
  const squares = Float64Array.from(g, (x) => (SCALE * x) ** 2)
  const ofRow = (r: number) => squares.subarray(r * columns, (r + 1) * columns)
  const average = (old: number, mean: number) => BETA * old + (1 - BETA) * (mean + FLOOR)
  const rowMeans = Float64Array.from({ length: rows }, (_, r) => average(state[r] as number, sum(ofRow(r)) / columns))
  const columnMeans = Float64Array.from({ length: columns }, (_, c) => {
    const mean = sum(squares.filter((_, i) => i % columns === c)) / rows
    return average(state[rows + c] as number, mean)
  })
  const total = sum(rowMeans) / rows
  const direction = Float64Array.from(g, (x, i) => {
    const [r, c] = [Math.floor(i / columns), i % columns]
    return (SCALE * x) / Math.sqrt(((rowMeans[r] as number) * (columnMeans[c] as number)) / total)
  })
  return { means: [...rowMeans, ...columnMeans], terms: updated(p, direction) }
}

describe.skipIf(testDevice === null)('adafactor', { timeout: COMPILATION }, () => {
  test.each([
    { count: 2, rows: 5, columns: 7 },
    { count: 2, rows: 70, columns: 264 },
    { count: 1, rows: 300, columns: 67 },
    { count: 1, rows: 1, columns: 1 },
  ])('updates matrices as the algorithm says: %o', async (shape) => {
    const { count, rows, columns } = shape
    const before = tensors(shape)
    const { size, stateSize } = before
    const { p, g, state } = await update(before)
    for (let matrix = 0; matrix < count; matrix++) {
      const part = (values: Float32Array, size: number) => values.subarray(matrix * size, (matrix + 1) * size)
      const oldState = part(before.state.data, stateSize)
      const { means, terms } = matrixUpdate(
        part(before.p.data, size),
        part(before.g.data, size),
        oldState,
        rows,
        columns,
      )
      const newState = state.subarray(matrix * stateSize, (matrix + 1) * stateSize)
      expectSums(newState.subarray(0, rows + columns), rows + columns, (i) => [means[i] as number])
      expect(newState.subarray(rows + columns)).toEqual(Float64Array.from(oldState.subarray(rows + columns)))
      expectSums(p.subarray(matrix * size, (matrix + 1) * size), size, terms)
    }
    expect(g).toEqual(Float64Array.from(before.g.data))
    expect(await update(before)).toEqual({ p, g, state })
  })

  test.each([
    { count: 2, rows: null, columns: 7 },
    { count: 1, rows: null, columns: 1028 },
    { count: 1, rows: null, columns: 1 },
  ])('updates vectors as the algorithm says: %o', async (shape) => {
    const before = tensors(shape)
    const { count, columns } = shape
    const { p, state } = await update(before)
    const moments = Float64Array.from(before.state.data, (old, i) => {
      return BETA * old + (1 - BETA) * ((SCALE * (before.g.data[i] as number)) ** 2 + FLOOR)
    })
    expectSums(state, count * columns, (i) => [moments[i] as number])
    for (let start = 0; start < count * columns; start += columns) {
      const direction = before.g.data.subarray(start, start + columns)
      const terms = updated(
        before.p.data.subarray(start, start + columns),
        Float64Array.from(direction, (x, i) => (SCALE * x) / Math.sqrt(moments[start + i] as number)),
      )
      expectSums(p.subarray(start, start + columns), columns, terms)
    }
    expect(await update(before)).toEqual({ p, g: Float64Array.from(before.g.data), state })
  })

  test('a first step is finite, whether gradients are tiny or zero', async () => {
    const shape = { count: 2, rows: 5, columns: 7 }
    for (const size of [0, 1e-25, 1e-12, 1e12]) {
      const before = tensors(shape)
      before.state.data.fill(0)
      before.g.data.forEach((x, i) => {
        before.g.data[i] = size * x
      })
      const { p } = await update(before)
      const [firstP, firstG] = [before.p.data.subarray(0, 35), before.g.data.subarray(0, 35)]
      expectSums(p.subarray(0, 35), 35, matrixUpdate(firstP, firstG, before.state.data, 5, 7).terms)
    }
  })

  test.each([5, null])('writes nothing if the gate is not open: rows %o', async (rows) => {
    const shape = { count: 2, rows, columns: 7 }
    const before = tensors(shape)
    before.g.data[3] = Number.NaN
    const [p, g, state] = [before.p, before.g, before.state].map(({ data }) => Float64Array.from(data))
    expect(await update(before, 0)).toEqual({ p, g, state })
  })
})
