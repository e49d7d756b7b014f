/** @slow */
import { describe, expect, test } from 'vitest'
import type { Device } from '../device.ts'
import { rounded } from '../testing/exact.ts'
import { runKernel, testDevice } from '../testing/run-kernel.ts'
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
    const inputs = { x, index, weight: weighted ? weight : undefined }
    const { y } = await runKernel(device, gatherRows, { inputs, outputs: { y: result(rows, width) } })
    expectSums(y, rows * width, (i) => {
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
    const call = { inputs: { x, index, weight }, outputs: { y: halfResult(7, width) } }
    const { y } = await runKernel(device, gatherRows, call)
    const terms = (i: number) => {
      const r = Math.floor(i / width)
      return [at(x.data, at(index.data, r) * width + (i % width)) * at(weight.data, r)]
    }
    expectSums(y, 7 * width, terms, HALF_TOLERANCE)
  })

  test('without rows there is nothing to do', async () => {
    const inputs = { x: new Random().floats([3, 4]), index: new Random().integers([0], () => 0) }
    const results = await runKernel(device, gatherRows, { inputs, outputs: { y: result(0, 4) } })
    expect(results).toEqual({ y: new Float64Array() })
  })
})

type Factor = 'weight' | 'kept'

/**
 * Choices of tokens among rows. The last choice of every third token may be dropped by a factor, with a slot that does
 * not exist.
 */
function choices(tokens: number, choices: number, rows: number, dropping: Factor | null) {
  const random = new Random()
  const isDropped = (i: number) => dropping !== null && i % (3 * choices) === choices - 1
  const slot = random.integers([tokens, choices], (i) => (isDropped(i) ? 2 ** 30 : random.below(rows)))
  const factor = (name: Factor, draw: () => number) =>
    random.floats([tokens, choices], (i) => (isDropped(i) && dropping === name ? 0 : draw()))
  return { random, slot, weight: factor('weight', () => random.number()), kept: factor('kept', () => 1) }
}

describe.skipIf(testDevice === null)('combine-rows', () => {
  const shapes = [
    { tokens: 7, k: 2, rows: 9, width: 12 },
    { tokens: 130, k: 3, rows: 50, width: 5 },
    { tokens: 1, k: 1, rows: 1, width: 1 },
  ]
  const by = (...factors: Factor[]) => ({ factors, added: false, half: false })
  const variants = shapes.flatMap((shape) => [
    { ...shape, ...by('weight') },
    { ...shape, ...by('weight'), added: true },
    // The last factor drops choices.
    { ...shape, ...by('weight', 'kept'), added: true },
  ])
  const small = { tokens: 5, k: 2, rows: 4, width: 8 }
  test.each([
    ...variants,
    { ...small, ...by(), added: true },
    { ...small, ...by('kept') },
    { ...small, ...by('kept', 'weight') },
    { ...small, ...by('weight'), added: true, half: true },
  ])('adds the rows of each token: %o', async ({ tokens, k, rows: height, width, factors, added, half }) => {
    const drawn = choices(tokens, k, height, factors.at(-1) ?? null)
    const { random, slot } = drawn
    const numbers = random.floats([height, width])
    const rows = half ? rounded(numbers) : numbers
    const addend = random.floats([tokens, width])
    const call = {
      inputs: { rows, slot, ...Object.fromEntries(factors.map((name) => [name, drawn[name]])) },
      outputs: { y: half ? halfResult(tokens, width) : result(tokens, width) },
      addends: { y: added ? addend : undefined },
    }
    const terms = (i: number) => {
      const t = Math.floor(i / width)
      const sum = added ? [at(addend.data, i)] : []
      for (let choice = t * k; choice < (t + 1) * k; choice++) {
        const factor = factors.reduce((product, name) => product * at(drawn[name].data, choice), 1)
        if (factor !== 0) sum.push(factor * at(rows.data, at(slot.data, choice) * width + (i % width)))
      }
      return sum
    }
    const { y } = await runKernel(device, combineRows, call)
    expectSums(y, tokens * width, terms, half ? HALF_TOLERANCE : undefined)
    if (!added || half) return
    expect(await runKernel(device, combineRows, { ...call, outputs: { y: addend } })).toEqual({ y })
  })

  test.each<[Factor, Factor]>([
    ['weight', 'kept'],
    ['kept', 'weight'],
  ])('a row may hold anything if %s drops all choices of it, whatever %s is', async (zero, other) => {
    const random = new Random()
    const inputs = {
      rows: random.floats([2, 3], (i) => (i < 3 ? Number.NaN : i)),
      slot: random.integers([1, 2], (i) => i),
      [zero]: random.floats([1, 2], (i) => i),
    }
    const outputs = { y: result(1, 3) }
    expect(await runKernel(device, combineRows, { inputs, outputs })).toEqual({ y: Float64Array.of(3, 4, 5) })
    const both = { ...inputs, [other]: random.floats([1, 2], (i) => (i === 0 ? Number.NaN : 2)) }
    expect(await runKernel(device, combineRows, { inputs: both, outputs })).toEqual({ y: Float64Array.of(6, 8, 10) })
  })

  test('without rows the result is the addend', async () => {
    const random = new Random()
    const addend = random.floats([2, 4])
    const [slot, zeros] = [random.integers([2, 1], () => 0), random.floats([2, 1], () => 0)]
    const inputs = { rows: random.floats([0, 4]), slot, weight: zeros, kept: zeros }
    const call = { inputs, outputs: { y: result(2, 4) }, addends: { y: addend } }
    expect(await runKernel(device, combineRows, call)).toEqual({ y: Float64Array.from(addend.data) })
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
    const { random, slot, weight: kept } = choices(tokens, k, height, masked ? 'weight' : null)
    const dy = random.floats([tokens, width])
    const drawn = random.floats([height, width])
    const rows = half ? rounded(drawn) : drawn
    const call = { inputs: { dy, rows, slot, kept: masked ? kept : undefined }, outputs: { dots: result(tokens, k) } }
    const { dots } = await runKernel(device, rowDots, call)
    expectSums(dots, tokens * k, (i) => {
      const w = masked ? at(kept.data, i) : 1
      if (w === 0) return [0]
      const [token, row] = [Math.floor(i / k) * width, at(slot.data, i) * width]
      return Array.from({ length: width }, (_, c) => w * at(dy.data, token + c) * at(rows.data, row + c))
    })
    expect(await runKernel(device, rowDots, call)).toEqual({ dots })
  })

  test('without rows all dots are 0', async () => {
    const random = new Random()
    const inputs = {
      dy: random.floats([2, 4]),
      rows: random.floats([0, 4]),
      slot: random.integers([2, 1], () => 0),
      kept: random.floats([2, 1], () => 0),
    }
    const results = await runKernel(device, rowDots, { inputs, outputs: { dots: result(2, 1) } })
    expect(results).toEqual({ dots: Float64Array.of(0, 0) })
  })
})
