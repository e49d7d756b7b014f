/** A run that stops for want of room continues in a program with more room, with the same results. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { allToAllSizes, sendRows } from '../../../core/graph/ops/all-to-all.ts'
import { add, multiply } from '../../../core/graph/ops/elementwise.ts'
import { rmsNorm } from '../../../core/graph/ops/fused.ts'
import { input, scope, type Tensor, withKernels } from '../../../core/graph/tensor.ts'
import { type Binding, type Executable, type Runtime, TooManyRows } from '../../contract/runtime.ts'
import { SimulatedRanks } from '../../world/simulated/ranks.ts'
import { createRuntime } from '../cpu-runtime.ts'

const RANKS = 2
const ROWS = 12
const WIDTH = 8
const EPSILON = 1e-5
/** Rows for the two experts of this rank and the two of the other, which returns as many; the last are unused. */
const SIZES = [5n, 1n, 2n, 3n, 1n]
const ARRIVING = 11

let world: SimulatedRanks
let runtime: Runtime
beforeAll(async () => {
  world = new SimulatedRanks(RANKS)
  runtime = await createRuntime({ threads: 2, group: { first: 0, rank: 0, size: RANKS, orders: world.orders } })
})
afterAll(async () => {
  await runtime.close()
  await world.close()
})

/** Experts that multiply by `factor` on the ranks that hold them. */
function onOwners(x: Tensor, sizes: Tensor, room: number, factor: number): Tensor {
  const allToAll = allToAllSizes(sizes, RANKS, room, false)
  const arrived = sendRows(x, allToAll, RANKS)
  return sendRows(multiply(arrived(), factor), allToAll, RANKS, { rows: ROWS })()
}

/**
 * z = 5·(3·n(x) + 2·n(x)) + 2·n(x) + n(x), where n is a norm: experts in two layers, and values of kernels and of ONNX Runtime
 * that are computed before the first layer and read after the last.
 */
const compile = (first: number, second: number): Promise<Executable> =>
  runtime.compile(
    withKernels(runtime.kernels, () => {
      const [x, sizes] = [input('x', 'float32', [ROWS, WIDTH]), input('sizes', 'int64', [SIZES.length])]
      const n = rmsNorm(x, input('weight', 'float32', [WIDTH]), EPSILON)
      const doubled = multiply(n, 2)
      const y = scope('layers.0.moe.experts', () => onOwners(n, sizes, first, 3))
      const z = scope('layers.1.moe.experts', () => onOwners(add(y, doubled), sizes, second, 5))
      return { outputs: { z: add(z, add(doubled, n)) } }
    }),
  )

const buffers = {
  x: Float32Array.from({ length: ROWS * WIDTH }, (_, i) => Math.sin(i)),
  weight: new Float32Array(WIDTH).fill(1),
  sizes: BigInt64Array.from(SIZES),
  z: new Float32Array(ROWS * WIDTH),
}

/** Runs to the end, with the rooms of each program in turn; returns the layers that stopped it. */
async function runInTurn(rooms: readonly (readonly [number, number])[]): Promise<string[]> {
  const stops: string[] = []
  let stopped: Binding | null = null
  buffers.z.fill(0)
  for (const [first, second] of rooms) {
    const binding: Binding = (await compile(first, second)).bind(buffers)
    const running = start(binding, stopped)
    stopped = binding
    try {
      await running
      return stops
    } catch (error) {
      if (!(error instanceof TooManyRows)) throw error
      stops.push(`${error.layer}: ${error.rows} in ${error.room}`)
    }
  }
  throw new Error('the run has not ended')
}

function start(binding: Binding, stopped: Binding | null): Promise<unknown> {
  if (!stopped) return binding.run()
  const running = binding.continueRun?.(stopped)
  stopped.release()
  return running as Promise<unknown>
}

const finished = () => {
  const results = Array.from(buffers.z)
  // The last row is unused, so no expert computes it.
  return results.slice(0, ARRIVING * WIDTH)
}

test('a run continues from the layer that stopped it, in one memory or another', async () => {
  const small = await runInTurn([
    [9, 4],
    [ARRIVING, 4],
    [ARRIVING, 10],
    [ARRIVING, 4000],
  ])
  const grown = finished()
  // The memory for 4000 rows has room for all of these programs, so old and new values overlap.
  const overlapping = await runInTurn([
    [9, 4],
    [100, 4],
    [100, ARRIVING],
  ])
  expect(small).toEqual([
    'layers.0.moe.experts: 11 in 9',
    'layers.1.moe.experts: 11 in 4',
    'layers.1.moe.experts: 11 in 10',
  ])
  expect(overlapping).toEqual(['layers.0.moe.experts: 11 in 9', 'layers.1.moe.experts: 11 in 4'])
  expect(finished()).toEqual(grown)
  expect(await runInTurn([[100, 100]])).toEqual([])
  expect(finished()).toEqual(grown)
  // All factors are numbers, so the experts of both layers can be written as one factor of the norm.
  const norm = (row: readonly number[]) => Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / WIDTH + EPSILON)
  grown.forEach((value, i) => {
    const row = Array.from(buffers.x.subarray(i - (i % WIDTH), i - (i % WIDTH) + WIDTH))
    expect(value).toBeCloseTo(((buffers.x[i] as number) / norm(row)) * (5 * (3 + 2) + 2 + 1), 3)
  })
})

test('another program, and a run that has not stopped, are refused', async () => {
  const [small, large] = [(await compile(9, 9)).bind(buffers), (await compile(50, 50)).bind(buffers)]
  expect(() => large.continueRun?.(small)).toThrow(/^internal: /)
  await expect(small.run()).rejects.toThrow(
    'layers.0.moe.experts: the experts of this rank get 11 rows, but there is room for 9',
  )
  const other = await runtime.compile(
    withKernels(runtime.kernels, () => {
      const [x, weight] = [input('x', 'float32', [ROWS, WIDTH]), input('weight', 'float32', [WIDTH])]
      return { outputs: { z: rmsNorm(x, weight, EPSILON) } }
    }),
  )
  const { x, weight, z } = buffers
  const binding = other.bind({ x, weight, z })
  expect(() => binding.continueRun?.(small)).toThrow('internal: a run is continued by another program')
  await large.continueRun?.(small)
  for (const each of [small, large, binding]) each.release()
})
