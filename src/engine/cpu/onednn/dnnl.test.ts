/** Primitives of oneDNN on one thread against plain loops: every layout, and sides of length 1. */
import { describe, expect, test } from 'vitest'
import { addressOf } from '../../native/ffi.ts'
import { Dnnl } from './dnnl.ts'
import { findDnnl } from './library.ts'
import type { Product } from './product.ts'

const library = findDnnl()
const missing = 'missing' in library ? library.missing : null
const address = (array: Float32Array): number => Number(addressOf(array))

/** Integers, so that sums are exact in any order, and in bfloat16. */
const integers = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => ((((i + seed) * 7919) % 104729) % 9) - 4)

describe.skipIf(missing)(missing ? `oneDNN (skipped: ${missing})` : 'oneDNN', () => {
  const path = 'path' in library ? library.path : ''
  const cases = [1, 2, 17].flatMap((m) =>
    [1, 3, 40].flatMap((k) =>
      [1, 2, 33].flatMap((n) =>
        [false, true].flatMap((transposeA) => [false, true].map((transposeB) => ({ m, k, n, transposeA, transposeB }))),
      ),
    ),
  )
  /** Floats between the rows of a, b, c. */
  const gaps = [
    [0, 0, 0],
    [1, 0, 0],
    [0, 2, 0],
    [0, 0, 1],
    [2, 3, 5],
  ] as const

  for (const plus of ['nothing', 'c', 'another matrix'] as const)
    test(`products with any strides, plus ${plus}, are correct and write nothing else, or are refused`, () => {
      const dnnl = new Dnnl(path, 'float32')
      for (const [at, { m, k, n, transposeA, transposeB }] of cases.entries())
        for (const [gapA, gapB, gapC] of gaps) {
          const alpha = at % 2 === 0 ? 1 : 0.5
          const [strideA, strideB, strideC] = [(transposeA ? m : k) + gapA, (transposeB ? k : n) + gapB, n + gapC]
          const a = integers((transposeA ? k : m) * strideA, at)
          const b = integers((transposeB ? n : k) * strideB, at + 1)
          const c = plus === 'c' ? integers(m * strideC, at + 2) : new Float32Array(m * strideC).fill(Number.NaN)
          const other = integers(m * (n + 3), at + 3)
          const expected = c.slice()
          for (let i = 0; i < m; i++)
            for (let j = 0; j < n; j++) {
              let sum = 0
              for (let l = 0; l < k; l++)
                sum +=
                  (a[transposeA ? l * strideA + i : i * strideA + l] as number) *
                  (b[transposeB ? j * strideB + l : l * strideB + j] as number)
              const before = plus === 'c' ? c[i * strideC + j] : plus === 'nothing' ? 0 : other[i * (n + 3) + j]
              expected[i * strideC + j] = alpha * sum + (before as number)
            }
          const spec: Product = {
            m,
            k,
            n,
            a: { stride: strideA, transposed: transposeA },
            b: { stride: strideB, transposed: transposeB },
            c: strideC,
            alpha,
            ...(plus !== 'nothing' && { plus: plus === 'c' ? plus : n + 3 }),
          }
          const rowWithGaps = m === 1 && k > 1 && transposeA && strideA > 1
          const columnWithGaps = n === 1 && m > 1 && (strideC > 1 || plus === 'another matrix')
          if (rowWithGaps || columnWithGaps) {
            expect(() => dnnl.product(spec)).toThrow(/^internal: no product/)
            continue
          }
          dnnl.product(spec).run(...[a, b, c, ...(plus === 'another matrix' ? [other] : [])].map(address))
          const shape = `[${m}, ${k}]${transposeA ? 'ᵀ' : ''}·[${k}, ${n}]${transposeB ? 'ᵀ' : ''}, strides ${strideA}, ${strideB}, ${strideC}`
          expect(c, shape).toEqual(expected)
        }
    })

  for (const finish of ['exp', 'times'] as const)
    test(`a batch of products is finished by ${finish}, with a row for each`, () => {
      const dnnl = new Dnnl(path, 'float32')
      for (const count of [1, 2, 4])
        for (const [m, k, n] of [
          [1, 4, 1],
          [3, 4, 1],
          [1, 5, 7],
          [70, 64, 33],
        ] as const) {
          const small = (size: number, seed: number) => integers(size, seed).map((x) => x / 64)
          const [a, b, row] = [small(count * m * k, 1), small(count * n * k, 2), small(count * n, 3)]
          const [factor, c] = [small(count * m * n, 4), new Float32Array(count * m * n)]
          const spec: Product = { m, k, n, a: { stride: k }, b: { stride: k, transposed: true }, c: n, finish }
          const batch = { count, a: m * k, b: n * k, c: m * n }
          const operands = finish === 'exp' ? [row] : [row, factor]
          dnnl.productOfPrepared(spec, batch).run(...[a, b, c, ...operands].map(address))
          c.forEach((value, at) => {
            const [product, i, j] = [Math.floor(at / (m * n)), Math.floor((at % (m * n)) / n), at % n]
            let sum = -(row[product * n + j] as number)
            for (let l = 0; l < k; l++)
              sum += (a[(product * m + i) * k + l] as number) * (b[(product * n + j) * k + l] as number)
            const expected = finish === 'exp' ? Math.exp(sum) : sum * (factor[at] as number)
            expect(value, `${count} of [${m}, ${k}, ${n}], element ${at}`).toBeCloseTo(expected, 5)
          })
        }
    })

  test('softmax and its gradient work in place and on rows with a gap', () => {
    const dnnl = new Dnnl(path, 'float32')
    for (const [rows, columns, stride] of [
      [1, 1, 1],
      [5, 7, 7],
      [3, 33, 40],
    ] as const) {
      const x = integers(rows * stride, 1)
      const dy = integers(rows * stride, 2)
      const [share, gradient] = [Float64Array.from(x), Float64Array.from(dy)]
      for (let r = 0; r < rows; r++) {
        const row = Array.from(x.subarray(r * stride, r * stride + columns), Math.exp)
        const total = row.reduce((sum, value) => sum + value, 0)
        const dot = row.reduce((sum, value, i) => sum + (value / total) * (dy[r * stride + i] as number), 0)
        row.forEach((value, i) => {
          share[r * stride + i] = value / total
          gradient[r * stride + i] = (value / total) * ((dy[r * stride + i] as number) - dot)
        })
      }
      dnnl.softmax(rows, columns, stride).run(address(x), address(x))
      dnnl.softmaxGradient(rows, columns, stride).run(address(x), address(dy), address(dy))
      share.forEach((value, i) => {
        expect(x[i]).toBeCloseTo(value, 6)
        expect(dy[i]).toBeCloseTo(gradient[i] as number, 5)
      })
    }
  })

  test('activations stay finite and correct where an exponential would overflow', () => {
    const dnnl = new Dnnl(path, 'float32')
    const x = Float32Array.of(-1e30, -1e4, -20, -1, 0, 1, 20, 1e4, 1e30)
    const [y, dx, ones] = [x.slice(), x.slice(), new Float32Array(x.length).fill(1)]
    for (const kind of ['gelu', 'swish'] as const) {
      dnnl.activation(kind, x.length).run(address(x), address(y))
      dnnl.activationGradient(kind, x.length).run(address(x), address(ones), address(dx))
      expect(y.slice(-3)).toEqual(x.slice(-3))
      expect([...dx.slice(-2)]).toEqual([1, 1])
      for (const value of [...y.slice(0, 2), ...dx.slice(0, 2)]) expect(Math.abs(value)).toBe(0)
      expect(y[4]).toBe(0)
      expect(dx[4]).toBeCloseTo(0.5, 6)
    }
  })
})
