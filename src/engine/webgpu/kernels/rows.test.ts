import { describe, expect, test } from 'vitest'
import type { Device } from '../device.ts'
import { rounded } from '../testing/exact.ts'
import { overwriting } from '../testing/in-place.ts'
import { runKernel, type TestCall, testDevice } from '../testing/run-kernel.ts'
import { expectSums, HALF_TOLERANCE, halfResult, Random, result } from '../testing/tensors.ts'
import { combineRows, gatherRows, rowDots } from './rows.ts'

const device = testDevice as Device
const at = (values: ArrayLike<number>, i: number) => values[i] as number

describe.skipIf(testDevice === null)('gather-rows', () => {
  test.each([
    { x: 5, rows: 7, width: 12, weighted: true },
    { x: 3, rows: 300, width: 4, weighted: false },
    { x: 9, rows: 1, width: 1, weighted: true },
    { x: 4, rows: 2, width: 261, weighted: false },
  ])('takes rows by index: %o', async ({ x: height, rows, width, weighted }) => {
    const random = new Random()
    const x = random.floats([height, width])
    const index = random.integers([rows], () => random.below(height))
    const weight = random.floats([rows])
    const inputs = [x, index, ...(weighted ? [weight] : [])]
    const [out] = await runKernel(device, gatherRows, { inputs, outputs: [result(rows, width)] })
    expectSums(out, rows * width, (i) => {
      const r = Math.floor(i / width)
      return [at(x.data, at(index.data, r) * width + (i % width)) * (weighted ? at(weight.data, r) : 1)]
    })
  })

  test.each([
    { width: 12, from: 'f16' },
    { width: 5, from: 'float32' },
  ])('rounds rows of $width $from numbers to f16 in memory', async ({ width, from }) => {
    const random = new Random()
    const drawn = random.floats([9, width])
    const x = from === 'f16' ? rounded(drawn) : drawn
    const index = random.integers([7], () => random.below(9))
    const weight = random.floats([7])
    const [out] = await runKernel(device, gatherRows, { inputs: [x, index, weight], outputs: [halfResult(7, width)] })
    const terms = (i: number) => {
      const r = Math.floor(i / width)
      return [at(x.data, at(index.data, r) * width + (i % width)) * at(weight.data, r)]
    }
    expectSums(out, 7 * width, terms, HALF_TOLERANCE)
  })

  test('without rows there is nothing to do', async () => {
    const inputs = [new Random().floats([3, 4]), new Random().integers([0], () => 0)]
    expect(await runKernel(device, gatherRows, { inputs, outputs: [result(0, 4)] })).toEqual([new Float64Array()])
  })
})

/** Choices of tokens among rows; the last one of every third token may be dropped, with a slot that does not exist. */
function choices(tokens: number, choices: number, rows: number, dropped: boolean) {
  const random = new Random()
  const isDropped = (i: number) => dropped && i % (3 * choices) === choices - 1
  const slot = random.integers([tokens, choices], (i) => (isDropped(i) ? 2 ** 30 : random.below(rows)))
  const weight = random.floats([tokens, choices], (i) => (isDropped(i) ? 0 : random.number()))
  return { random, slot, weight }
}

describe.skipIf(testDevice === null)('combine-rows', () => {
  const shapes = [
    { tokens: 7, k: 2, rows: 9, width: 12 },
    { tokens: 130, k: 3, rows: 50, width: 5 },
    { tokens: 1, k: 1, rows: 1, width: 1 },
  ]
  const variants = shapes.flatMap((shape) => [
    { ...shape, weighted: true, added: false, half: false },
    { ...shape, weighted: true, added: true, half: false },
  ])
  test.each([
    ...variants,
    { tokens: 5, k: 2, rows: 4, width: 8, weighted: false, added: true, half: false },
    { tokens: 5, k: 2, rows: 4, width: 8, weighted: true, added: true, half: true },
  ])('adds the rows of each token: %o', async ({ tokens, k, rows: height, width, weighted, added, half }) => {
    const { random, slot, weight } = choices(tokens, k, height, weighted)
    const drawn = random.floats([height, width])
    const rows = half ? rounded(drawn) : drawn
    const addend = random.floats([tokens, width])
    const call: TestCall = {
      inputs: [rows, slot, ...(weighted ? [weight] : []), ...(added ? [addend] : [])],
      outputs: [half ? halfResult(tokens, width) : result(tokens, width)],
      attributes: { weighted: weighted ? 1 : 0 },
      added: added ? [0] : [],
    }
    const terms = (i: number) => {
      const t = Math.floor(i / width)
      const sum = added ? [at(addend.data, i)] : []
      for (let choice = t * k; choice < (t + 1) * k; choice++) {
        const w = weighted ? at(weight.data, choice) : 1
        if (w !== 0) sum.push(w * at(rows.data, at(slot.data, choice) * width + (i % width)))
      }
      return sum
    }
    const [out] = await runKernel(device, combineRows, call)
    expectSums(out, tokens * width, terms, half ? HALF_TOLERANCE : undefined)
    if (!added || half) return
    const over = { ...call, outputs: [addend] }
    expect(await runKernel(device, overwriting(combineRows, call.inputs.length - 1, 0), over)).toEqual([out])
  })

  test('a row that only dropped assignments refer to may hold anything', async () => {
    const random = new Random()
    const call: TestCall = {
      inputs: [
        random.floats([2, 3], (i) => (i < 3 ? Number.NaN : i)),
        random.integers([1, 2], (i) => i),
        random.floats([1, 2], (i) => i),
      ],
      outputs: [result(1, 3)],
      attributes: { weighted: 1 },
    }
    expect(await runKernel(device, combineRows, call)).toEqual([Float64Array.of(3, 4, 5)])
  })

  test('without rows the result is the addend', async () => {
    const random = new Random()
    const addend = random.floats([2, 4])
    const inputs = [random.floats([0, 4]), random.integers([2, 1], () => 0), random.floats([2, 1], () => 0), addend]
    const call: TestCall = { inputs, outputs: [result(2, 4)], attributes: { weighted: 1 }, added: [0] }
    expect(await runKernel(device, combineRows, call)).toEqual([Float64Array.from(addend.data)])
  })
})

describe.skipIf(testDevice === null)('row-dots', () => {
  test.each([
    { tokens: 7, k: 2, rows: 9, width: 12, masked: true },
    { tokens: 33, k: 3, rows: 50, width: 5, masked: true },
    { tokens: 3, k: 2, rows: 4, width: 1025, masked: true },
    { tokens: 1, k: 1, rows: 1, width: 1, masked: false },
    { tokens: 2, k: 1, rows: 5, width: 4096, masked: false },
    // Rows as f16 in memory are read exactly.
    { tokens: 7, k: 2, rows: 9, width: 12, masked: true, half: true },
  ])('multiplies gradients of tokens by their rows: %o', async ({ tokens, k, rows: height, width, masked, half }) => {
    const { random, slot, weight: kept } = choices(tokens, k, height, masked)
    const dy = random.floats([tokens, width])
    const drawn = random.floats([height, width])
    const rows = half ? rounded(drawn) : drawn
    const call = { inputs: [dy, rows, slot, ...(masked ? [kept] : [])], outputs: [result(tokens, k)] }
    const [out] = await runKernel(device, rowDots, call)
    expectSums(out, tokens * k, (i) => {
      const w = masked ? at(kept.data, i) : 1
      if (w === 0) return [0]
      const [token, row] = [Math.floor(i / k) * width, at(slot.data, i) * width]
      return Array.from({ length: width }, (_, c) => w * at(dy.data, token + c) * at(rows.data, row + c))
    })
    expect(await runKernel(device, rowDots, call)).toEqual([out])
  })

  test('without rows all are 0', async () => {
    const random = new Random()
    const inputs = [
      random.floats([2, 4]),
      random.floats([0, 4]),
      random.integers([2, 1], () => 0),
      random.floats([2, 1], () => 0),
    ]
    expect(await runKernel(device, rowDots, { inputs, outputs: [result(2, 1)] })).toEqual([Float64Array.of(0, 0)])
  })
})
