import { describe, expect, test } from 'vitest'
import { firstDifference, integers, numbers, sizeOf } from '../../testing/draws.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { scatterElements } from './scatter.ts'

describe.skipIf(testDevice === null)('ScatterElements', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  interface Case {
    readonly shape: readonly number[]
    readonly axis: number
    /** Number of updates along the axis. */
    readonly count: number
    readonly data?: ArrayLike<number>
    readonly indices: ArrayLike<number>
    readonly updates: ArrayLike<number>
    readonly reduction?: 'add'
    readonly dtype?: 'float32' | 'int32'
  }

  const filled = ({ shape, data }: Case) => data ?? new Float32Array(sizeOf(shape))

  async function run(given: Case) {
    const { shape, axis, count, indices, updates, reduction, dtype = 'float32' } = given
    const from = shape.map((d, i) => (i === axis ? count : d))
    const call = {
      attributes: { axis, ...(reduction && { reduction }) },
      inputs: {
        data: { dtype, shape, data: filled(given) },
        indices: { dtype: 'int32', shape: from, data: indices },
        updates: { dtype, shape: from, data: updates },
      },
      outputs: { y: { dtype, shape } },
    } as const
    return (await runKernel(device, scatterElements, call)).y
  }

  /** The result in float32, update by update, because the order of the sums is part of the contract. */
  function expected(given: Case) {
    const { shape, axis, count, indices, updates, reduction } = given
    const [length, inner] = [shape[axis] as number, sizeOf(shape.slice(axis + 1))]
    const y = Float64Array.from(filled(given))
    for (let index = 0; index < updates.length; index++) {
      const target = indices[index] as number
      if (target < 0 || target >= length) continue
      const outer = Math.floor(index / (count * inner))
      const at = (outer * length + target) * inner + (index % inner)
      y[at] = reduction ? Math.fround((y[at] as number) + (updates[index] as number)) : (updates[index] as number)
    }
    return y
  }

  /** A permutation of 0 to `count` − 1. */
  function permutation(count: number, seed: number): number[] {
    const key = numbers(count, seed)
    return Array.from(key.keys()).sort((a, b) => (key[a] as number) - (key[b] as number))
  }

  async function check(given: Case) {
    const y = await run(given)
    expect(firstDifference(y, expected(given))).toBeNull()
    expect(firstDifference(await run(given), y)).toBeNull()
  }

  for (const [shape, axis, count] of [
    [[1], 0, 1],
    [[3, 5], 1, 4],
    [[4, 3, 2], 1, 7],
    [[100, 7], 0, 64],
  ] as const)
    test(`adds ${count} updates along axis ${axis} of [${shape.join(', ')}], some to the same element`, async () => {
      const size = (sizeOf(shape) / (shape[axis] as number)) * count
      await check({
        shape,
        axis,
        count,
        data: numbers(sizeOf(shape), 2),
        indices: integers(size, shape[axis] as number),
        updates: numbers(size),
        reduction: 'add',
      })
    })

  for (const [shape, count] of [
    [[2, 50], 65],
    [[3, 4000], 3000],
    [[1, 1], 500],
  ] as const)
    test(`adds ${count} updates to lines of ${shape[1]} in their order`, async () => {
      const size = shape[0] * count
      const data = numbers(sizeOf(shape), 3)
      const indices = integers(size, shape[1])
      await check({ shape, axis: 1, count, data, indices, updates: numbers(size), reduction: 'add' })
    })

  /** The index of each row, repeated for its columns. */
  const spread = (indices: ArrayLike<number>, columns: number) =>
    Array.from({ length: indices.length * columns }, (_, i) => indices[Math.floor(i / columns)] as number)

  for (const [rows, columns, count] of [
    [10, 3, 100],
    [300, 33, 2100],
  ] as const)
    test(`adds ${count} rows to a table [${rows}, ${columns}] in their order`, async () => {
      const indices = spread(integers(count, rows), columns)
      const updates = numbers(count * columns)
      await check({ shape: [rows, columns], axis: 0, count, indices, updates, reduction: 'add' })
    })

  test('adds rows between updates whose columns go to different rows', async () => {
    const [rows, columns, count] = [6, 5, 200]
    const indices = spread(integers(count, rows), columns)
    for (const mixed of [0, 7, 8, 120, 199]) indices.splice(mixed * columns, columns, ...integers(columns, rows, mixed))
    const updates = numbers(count * columns)
    await check({ shape: [rows, columns], axis: 0, count, indices, updates, reduction: 'add' })
  })

  test('adds along a middle axis with different indices in each line', async () => {
    const updates = numbers(2 * 80 * 3)
    const indices = integers(updates.length, 9)
    await check({ shape: [2, 9, 3], axis: 1, count: 80, indices, updates, reduction: 'add' })
  })

  test('ignores updates with an index out of range', async () => {
    for (const count of [4, 70])
      for (const reduction of ['add', undefined] as const) {
        const line = permutation(count, 5).map((i) => i - 2)
        line[count - 1] = 2 ** 31 - 1
        const [data, updates] = [numbers(80), numbers(2 * count, 6)]
        const rest = { shape: [2, 40], axis: 1, count, data, indices: [...line, ...line], updates }
        await check({ ...rest, ...(reduction && { reduction }) })
      }
  })

  for (const count of [3, 400])
    test(`sets ${count} integers at distinct indices, and copies the rest`, async () => {
      const shape = [2, 500, 1] as const
      const indices = [...permutation(500, 1).slice(0, count), ...permutation(500, 2).slice(0, count)]
      const updates = integers(2 * count, 1000)
      await check({ shape, axis: 1, count, data: integers(1000, 9), indices, updates, dtype: 'int32' })
    })

  test('copies the data if there are no updates, and has nothing to do for no data', async () => {
    await check({ shape: [3, 2], axis: 0, count: 0, data: numbers(6), indices: [], updates: [], reduction: 'add' })
    await check({ shape: [0, 2], axis: 0, count: 3, indices: [0, 0, 0, 0, 0, 0], updates: numbers(6) })
  })
})
