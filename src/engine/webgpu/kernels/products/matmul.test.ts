/**
 * Matrix products against plain loops: every layout, sizes that are no multiples of tiles, batches, parts of sums.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import * as declared from '../../../../core/graph/kernels/products.ts'
import type { AttributeValue } from '../../../../core/graph/tensor.ts'
import {
  type Exact,
  expectExact,
  type Floats,
  float,
  HALF_ROUNDING,
  randomTensor,
  rounded,
  runTwice,
} from '../../testing/exact.ts'
import { type TestTensor, testDevice } from '../../testing/run-kernel.ts'
import { implement, type Kernel, operandOf } from '../contract.ts'
import { asFloats } from './floats.ts'
import { fusedMatmul, matmul, onnxMatmul, tiledMatmul, tilingOf } from './matmul.ts'
import { productOf } from './product.ts'
import { TILES } from './product-tiles.ts'

interface Case {
  readonly batch?: readonly number[]
  readonly m: number
  readonly k: number
  readonly n: number
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  readonly alpha?: number
  readonly addend?: boolean
  /**
   * With `memory`, factors and result are f16 in memory. With `tiles`, the kernel rounds float32 factors, and the
   * result is float32. The addend is always float32.
   */
  readonly half?: 'memory' | 'tiles'
}

/** Σ_k a[..., k] · b[k, ...] · alpha + addend, by functions of the indices. */
function sumsOf(
  { batch = [], m, k, n, alpha = 1 }: Case,
  a: (matrix: number, i: number, l: number) => number,
  b: (matrix: number, l: number, j: number) => number,
  addend: ArrayLike<number> | null,
): Exact[] {
  const sums: Exact[] = []
  const matrices = batch.reduce((count, d) => count * d, 1)
  for (let matrix = 0; matrix < matrices; matrix++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let value = addend?.[sums.length] ?? 0
        let magnitude = Math.abs(value)
        for (let l = 0; l < k; l++) {
          const term = alpha * a(matrix, i, l) * b(matrix, l, j)
          value += term
          magnitude += Math.abs(term)
        }
        sums.push({ value, magnitude })
      }
  return sums
}

/** Runs a case with both factors batched alike, and compares it. */
async function check(kernel: Kernel<typeof declared.matmul>, of: Case): Promise<void> {
  const { batch = [], m, k, n, transposeA = false, transposeB = false, alpha = 1, half } = of
  const dtype = half === 'memory' ? 'float16' : 'float32'
  const factor = (shape: readonly number[], seed: number): { given: Floats; used: Floats } => {
    const drawn = randomTensor(shape, seed)
    if (!half) return { given: drawn, used: drawn }
    return { given: half === 'memory' ? rounded(drawn) : drawn, used: rounded(drawn) }
  }
  const { given: givenA, used: a } = factor([...batch, ...(transposeA ? [k, m] : [m, k])], 1)
  const { given: givenB, used: b } = factor([...batch, ...(transposeB ? [n, k] : [k, n])], 2)
  const shape = [...batch, m, n]
  const addend = of.addend ? randomTensor(shape, 3) : null
  const call = {
    attributes: { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0, alpha: { float: alpha } },
    inputs: { a: givenA, b: givenB },
    outputs: { c: float(shape, dtype) },
    addends: { c: addend ?? undefined },
    rounds: half !== undefined,
  } as const
  const { c } = await runTwice(kernel, call)
  const sums = sumsOf(
    of,
    (matrix, i, l) => a.data[matrix * m * k + (transposeA ? l * m + i : i * k + l)] as number,
    (matrix, l, j) => b.data[matrix * k * n + (transposeB ? j * k + l : l * n + j)] as number,
    addend?.data ?? null,
  )
  // The factors used are exact, and sums are float32: only the result is rounded.
  expectExact(c, sums, half === 'memory' ? HALF_ROUNDING : 0)
}

const layouts = [false, true].flatMap((transposeA) => [false, true].map((transposeB) => ({ transposeA, transposeB })))

function nameOf({ batch = [], m, k, n, transposeA, transposeB, alpha, addend, half }: Case): string {
  const [a, b] = [`[${m}, ${k}]${transposeA ? 'ᵀ' : ''}`, `[${k}, ${n}]${transposeB ? 'ᵀ' : ''}`]
  const count = batch.length > 0 ? `${batch.join('×')} of ` : ''
  return `${count}${a}·${b}${alpha ? ` · ${alpha}` : ''}${addend ? ' + c' : ''}${half ? `, f16 in ${half}` : ''}`
}

const product = (a: TestTensor, b: TestTensor, shape: number[], attributes: Record<string, AttributeValue> = {}) => ({
  attributes,
  inputs: { a, b },
  outputs: { c: float(shape) },
})

describe.skipIf(testDevice === null)('matmul', { timeout: 60_000 }, () => {
  const cases: Case[] = [
    // Each factor is read by code of its own, so each is transposed or not, with and without vectors.
    ...[false, true].flatMap((transposeA) => [
      { m: 37, k: 19, n: 35, transposeA, transposeB: transposeA, addend: true },
      { m: 36, k: 20, n: 40, transposeA, transposeB: !transposeA, alpha: 0.5 },
    ]),
    { m: 2, k: 1, n: 2 },
    { m: 300, k: 5, n: 70 },
    { m: 5, k: 3, n: 70, batch: [3] },
    { m: 8, k: 16, n: 8, batch: [2, 3], transposeB: true, addend: true },
    { m: 40, k: 700, n: 36, transposeA: true, alpha: 3, addend: true },
    { m: 36, k: 20, n: 40, transposeB: true, addend: true, half: 'memory' },
    { m: 9, k: 1025, n: 6, batch: [2], transposeA: true, alpha: 3, half: 'tiles' },
  ]
  test.each(cases.map((of) => [nameOf(of), of] as const))('%s', (_, of) => check(matmul, of))

  const thin: Case[] = [
    ...layouts.flatMap((layout) => [
      { m: 1, k: 300, n: 37, ...layout, addend: true },
      { m: 37, k: 200, n: 1, ...layout, alpha: 2 },
    ]),
    { m: 1, k: 1, n: 1 },
    { m: 1, k: 5, n: 1, batch: [70] },
    { m: 1, k: 4097, n: 8 },
    { m: 1, k: 3000, n: 3, transposeB: true, addend: true },
    { m: 600, k: 8, n: 1 },
    { m: 1, k: 64, n: 20, batch: [3], transposeB: true },
    { m: 1, k: 300, n: 37, half: 'memory' },
  ]
  test.each(thin.map((of) => [nameOf(of), of] as const))('%s', (_, of) => check(matmul, of))

  // The cases above use the smallest tile.
  for (const tile of TILES.slice(0, -1))
    for (const [of, parts] of [
      [{ m: tile.rows + 5, k: 2 * tile.inner + 3, n: 2 * tile.columns - 1, addend: true }, 1],
      [{ m: tile.rows + 4, k: 3 * tile.inner, n: tile.columns + 8, transposeB: true }, 2],
      [{ m: tile.rows, k: tile.inner + 4, n: tile.columns, transposeA: true }, 1],
    ] as const)
      test(`${nameOf(of)} in tiles ${tile.rows}×${tile.columns}, ${parts} parts`, () =>
        check(implement(declared.matmul, { lower: (call) => tiledMatmul(productOf(call), { tile, parts }) }), of))

  const broadcast = [
    { of: [2, 1, 3, 5], with: [4, 5, 6], batch: [2, 4], a: [0, 0, 0, 0, 1, 1, 1, 1], b: [0, 1, 2, 3, 0, 1, 2, 3] },
    { of: [2, 1, 3, 5], with: [5, 6], batch: [2, 1], a: [0, 1], b: [0, 0] },
    { of: [2, 2, 3, 8], with: [8, 1], batch: [2, 2], a: [0, 1, 2, 3], b: [0, 0, 0, 0] },
    { of: [4, 8], with: [2, 8, 4], batch: [2], a: [0, 0], b: [0, 1] },
  ]
  test.each(broadcast)('$of times $with: axes before the last two broadcast as in NumPy', async (axes) => {
    const [a, b] = [randomTensor(axes.of, 1), randomTensor(axes.with, 2)]
    const [m, k, n] = [axes.of.at(-2), axes.of.at(-1), axes.with.at(-1)] as [number, number, number]
    const { c } = await runTwice(onnxMatmul, product(a, b, [...axes.batch, m, n]))
    const sums = sumsOf(
      { batch: [axes.a.length], m, k, n },
      (matrix, i, l) => a.data[((axes.a[matrix] as number) * m + i) * k + l] as number,
      (matrix, l, j) => b.data[((axes.b[matrix] as number) * k + l) * n + j] as number,
      null,
    )
    expectExact(c, sums)
  })

  test('vectors are rows on the left and columns on the right', async () => {
    const [row, matrix, column] = [randomTensor([50], 1), randomTensor([50, 12], 2), randomTensor([12], 3)]
    const { c: left } = await runTwice(onnxMatmul, product(row, matrix, [12]))
    const { c: right } = await runTwice(onnxMatmul, product(matrix, column, [50]))
    const at = (i: number, j: number) => matrix.data[i * 12 + j] as number
    expectExact(
      left,
      sumsOf(
        { m: 1, k: 50, n: 12 },
        (_, __, l) => row.data[l] as number,
        (_, l, j) => at(l, j),
        null,
      ),
    )
    expectExact(
      right,
      sumsOf(
        { m: 50, k: 12, n: 1 },
        (_, i, l) => at(i, l),
        (_, l) => column.data[l] as number,
        null,
      ),
    )
  })

  test.each([0, 1])('the batch may follow the rows in memory (transBatchB, transB = %i)', async (transB) => {
    const [H, P, d] = [3, 21, 8]
    const b = randomTensor([P, H, d], 1)
    const a = randomTensor(transB ? [H, 1, d] : [H, 1, P], 2)
    const [k, n] = transB ? [d, P] : [P, d]
    const call = product(a, b, [H, 1, n], { transBatchB: 1, transB, alpha: { float: 1 } })
    const { c } = await runTwice(fusedMatmul, call)
    const sums = sumsOf(
      { batch: [H], m: 1, k, n },
      (h, _, l) => a.data[h * k + l] as number,
      (h, l, j) => b.data[((transB ? j : l) * H + h) * d + (transB ? l : j)] as number,
      null,
    )
    expectExact(c, sums)
  })

  test('sums of nothing are zero, and nothing is computed for empty results', async () => {
    const { c: zeros } = await runTwice(onnxMatmul, product(float([3, 0]), float([0, 5]), [3, 5]))
    expect(zeros).toEqual(new Float64Array(15))
    const [a, b, c] = [operandOf('float32', [0, 4]), operandOf('float32', [4, 3]), operandOf('float32', [0, 3])]
    const call = { attributes: {}, inputs: { a, b }, outputs: { c }, addends: {}, scales: {}, rounds: false }
    expect(onnxMatmul.lower(call)).toEqual([])
  })
})

describe('operands of the same size', () => {
  test('have the same type, because they may be the same memory', () => {
    const lines = (size: number, line: number) => ({ of: operandOf('float32', [size / line, line]), line })
    expect(asFloats([lines(24, 4), lines(24, 6), lines(48, 4)]).map(({ wide }) => wide)).toEqual([false, false, true])
  })
})

describe('tiles of products', () => {
  const of = (m: number, k: number, n: number) => tilingOf({ batch: [], m, k, n })

  test('are large if every core has one, and small if the matrix is small', () => {
    expect(of(16384, 512, 2048)).toEqual({ tile: TILES[0], parts: 1 })
    expect(of(30, 512, 4096).tile).toEqual(TILES[2])
    expect(of(64, 64, 64)).toEqual({ tile: TILES[2], parts: 1 })
  })

  test('share long sums if there are few tiles, as for gradients of weights', () => {
    expect(of(512, 65536, 512)).toEqual({ tile: TILES[0], parts: 16 })
    expect(of(16, 65536, 16)).toEqual({ tile: TILES[2], parts: 256 })
  })
})
