import { describe, expect, test } from 'vitest'
import type { Device } from '../../device.ts'
import { inPlace } from '../../testing/in-place.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { Random } from '../../testing/tensors.ts'
import { addDispatch, scatterAddRowsDispatches } from './additions.ts'

const device = testDevice as Device

describe.skipIf(testDevice === null)('add', () => {
  test.each([1, 7, 1024])('adds element by element: %i', async (count) => {
    const random = new Random()
    const [to, from] = [random.floats([count]), random.floats([count])]
    const add = inPlace(['to', 'from'], (operands) => [addDispatch(operands)])
    const { to: sum } = await runKernel(device, add, { inputs: {}, outputs: { to, from } })
    expect(sum).toEqual(Float64Array.from(to.data, (x, i) => Math.fround(x + (from.data[i] as number))))
  })
})

const scatterAddRows = inPlace(['table', 'rows', 'indices'], scatterAddRowsDispatches)

describe.skipIf(testDevice === null)('scatter-add-rows', () => {
  test.each([
    { tableRows: 7, rowCount: 50, width: 12 },
    { tableRows: 3, rowCount: 700, width: 1 },
    { tableRows: 1000, rowCount: 257, width: 5 },
    { tableRows: 1, rowCount: 1, width: 4 },
  ])('adds rows one after the other, to the bit: %o', async ({ tableRows, rowCount, width }) => {
    const random = new Random()
    const [table, rows] = [random.floats([tableRows, width]), random.floats([rowCount, width])]
    const indices = random.integers([rowCount], () => random.below(tableRows))
    const expected = table.data.slice()
    for (const [r, row] of indices.data.entries())
      for (let c = 0; c < width; c++) {
        const sum = (expected[row * width + c] as number) + (rows.data[r * width + c] as number)
        expected[row * width + c] = sum
      }
    const results = await runKernel(device, scatterAddRows, { inputs: {}, outputs: { table, rows, indices } })
    expect(results.table).toEqual(Float64Array.from(expected))
  })

  test('skips rows whose index is outside the table', async () => {
    const random = new Random()
    const [table, rows] = [random.floats([2, 1], () => 1), random.floats([5, 1], (r) => 2 ** r)]
    const places = [1, -1, 2, 1, 2 ** 31 - 1]
    const outputs = { table, rows, indices: random.integers([5], (r) => places[r] as number) }
    const results = await runKernel(device, scatterAddRows, { inputs: {}, outputs })
    expect(results.table).toEqual(Float64Array.of(1, 1 + 1 + 8))
  })
})
