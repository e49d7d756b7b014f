/** Compares primitives of both libraries on one thread with plain loops, for every layout and sides of length 1. */
import { afterEach, describe, expect, test } from 'vitest'
import { addressOf } from '../../native/ffi.ts'
import { Mlas } from './mlas/mlas.ts'
import { Dnnl } from './onednn/dnnl.ts'
import { findDnnl } from './onednn/library.ts'
import { type Primitives, type Product, packedBytes, packedRows, STRIPE } from './primitives.ts'

const library = findDnnl()
const missing = 'missing' in library ? library.missing : null

/** Arrays that stay referenced to the end of a test, because primitives read them by their addresses. */
const kept: (Float32Array | Uint16Array)[] = []
afterEach(() => {
  kept.length = 0
})
function address(array: Float32Array | Uint16Array): number {
  kept.push(array)
  return Number(addressOf(array))
}

/** Small integers, which bfloat16 can hold and whose sums are exact in any order. */
const integers = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => ((((i + seed) * 7919) % 104729) % 9) - 4)

describe.skipIf(missing)(missing ? `oneDNN (skipped: ${missing})` : 'oneDNN', () =>
  checkPrimitives(() => new Dnnl('path' in library ? library.path : '', 'float32')),
)

describe('MLAS', () => checkPrimitives(() => new Mlas()))

function checkPrimitives(create: () => Primitives): void {
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
      const primitives = create()
      for (const [at, { m, k, n, transposeA, transposeB }] of cases.entries())
        for (const [gapA, gapB, gapC] of gaps) {
          const alpha = at % 2 === 0 ? 1 : 0.5
          const [strideA, strideB, strideC] = [(transposeA ? m : k) + gapA, (transposeB ? k : n) + gapB, n + gapC]
          const a = integers((transposeA ? k : m) * strideA, at)
          const b = integers((transposeB ? n : k) * strideB, at + 1)
          const c = plus === 'c' ? integers(m * strideC, at + 2) : new Float32Array(m * strideC).fill(Number.NaN)
          const strideOther = primitives.stridedResults ? n + 3 : n
          const other = integers(m * strideOther, at + 3)
          const expected = c.slice()
          for (let i = 0; i < m; i++)
            for (let j = 0; j < n; j++) {
              let sum = 0
              for (let l = 0; l < k; l++)
                sum +=
                  (a[transposeA ? l * strideA + i : i * strideA + l] as number) *
                  (b[transposeB ? j * strideB + l : l * strideB + j] as number)
              const before = plus === 'c' ? c[i * strideC + j] : plus === 'nothing' ? 0 : other[i * strideOther + j]
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
            ...(plus !== 'nothing' && { plus: plus === 'c' ? plus : strideOther }),
          }
          const rowWithGaps = m === 1 && k > 1 && transposeA && strideA > 1
          const columnWithGaps = n === 1 && m > 1 && (strideC > 1 || plus === 'another matrix')
          const gapsRefused = !primitives.stridedResults && gapC > 0
          if (gapsRefused || (primitives.stridedResults && (rowWithGaps || columnWithGaps))) {
            expect(() => primitives.product(spec)).toThrow(/^internal: /)
            continue
          }
          primitives.product(spec).run(...[a, b, c, ...(plus === 'another matrix' ? [other] : [])].map(address))
          const shape = `[${m}, ${k}]${transposeA ? 'ᵀ' : ''}·[${k}, ${n}]${transposeB ? 'ᵀ' : ''}, strides ${strideA}, ${strideB}, ${strideC}`
          expect(c, shape).toEqual(expected)
        }
    })

  test('a row of a product has the same bits among few rows and many', () => {
    const primitives = create()
    const random = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * i + 1))
    for (const [k, n] of [
      [7, 12],
      [64, 64],
      [32, 128],
      [300, 40],
    ] as const)
      for (const transposed of [false, true]) {
        const [a, b] = [random(32 * k), random(k * n)]
        const rows = (m: number): Float32Array => {
          const c = new Float32Array(m * n)
          const spec = { m, k, n, a: { stride: k }, b: { stride: transposed ? k : n, transposed }, c: n }
          primitives.product(spec).run(address(a), address(b), address(c))
          return c
        }
        const all = rows(32)
        for (const m of [1, 2, 3, 8, 12, 31])
          expect(rows(m), `[${m}, ${k}]·[${k}, ${n}]`).toEqual(all.subarray(0, m * n))
      }
  })

  test('products of packed matrices are correct for any number of rows and columns', () => {
    const primitives = create()
    if (!primitives.packs) return
    const half = (x: number) => (new Uint32Array(Float32Array.of(x).buffer)[0] as number) >>> 16
    const most = 70
    for (const [k, n] of [
      [1, 1],
      [33, 64],
      [70, 65],
      [256, 200],
    ] as const) {
      const [a, b] = [integers(most * k, k), integers(k * n, n)]
      // Places by the formula of the layout.
      const packed = new Uint16Array(packedBytes(k, n) / 2)
      for (let row = 0; row < k; row++)
        for (let column = 0; column < n; column++) {
          const stripe = Math.floor(column / STRIPE) * packedRows(k) * STRIPE
          const at = stripe + ((row >> 1) * STRIPE + (column % STRIPE)) * 2 + (row & 1)
          packed[at] = half(b[row * n + column] as number)
        }
      const rows = Uint16Array.from(a, half)
      for (const m of [1, 2, 5, 64, most]) {
        const stride = n === 1 ? 1 : n + 3
        const c = new Float32Array(m * stride).fill(7)
        primitives.productOfPacked({ m, k, n, c: stride, alpha: 0.5 }).run(...[rows, packed, c].map(address))
        c.forEach((value, at) => {
          const [i, j] = [Math.floor(at / stride), at % stride]
          let sum = 0
          for (let l = 0; l < k; l++) sum += (a[i * k + l] as number) * (b[l * n + j] as number)
          expect(value, `[${m}, ${k}]·[${k}, ${n}] at ${i}, ${j}`).toBe(j < n ? sum / 2 : 7)
        })
      }
    }
  })

  for (const finish of ['exp', 'times'] as const)
    test(`a batch of products is finished by ${finish}, with a row for each`, () => {
      const primitives = create()
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
          primitives.productOfPrepared(spec, batch).run(...[a, b, c, ...operands].map(address))
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

  test('softmax works in place, also where an exponential would overflow', () => {
    const primitives = create()
    for (const [rows, columns] of [
      [1, 1],
      [5, 7],
      [3, 33],
    ] as const) {
      const x = integers(rows * columns, 1).map((value, i) => value + (i < columns ? 1e4 : 0))
      const expected = Float64Array.from(x)
      for (let r = 0; r < rows; r++) {
        const row = Array.from(x.subarray(r * columns, (r + 1) * columns))
        const powers = row.map((value) => Math.exp(value - Math.max(...row)))
        const total = powers.reduce((sum, value) => sum + value, 0)
        powers.forEach((value, i) => {
          expected[r * columns + i] = value / total
        })
      }
      primitives.softmax(rows, columns).run(address(x), address(x))
      expected.forEach((value, i) => void expect(x[i]).toBeCloseTo(value, 6))
    }
  })

  test('sums and products of numbers are exact in place', () => {
    const primitives = create()
    const [x, y] = [integers(1001, 1), integers(1001, 2)]
    const [sum, product] = [
      x.map((value, i) => value + (y[i] as number)),
      x.map((value, i) => value * (y[i] as number)),
    ]
    const z = x.slice()
    primitives.add(1001).run(address(z), address(y), address(z))
    expect(z).toEqual(sum)
    primitives.multiply(1001).run(address(x), address(y), address(x))
    expect(x).toEqual(product)
  })

  test('activations and their derivatives follow the formulas', () => {
    const primitives = create()
    const x = Float32Array.from({ length: 1001 }, (_, i) => (i - 500) / 60)
    const dy = integers(1001, 3)
    const formulas = {
      gelu: (v: number) => v * normal(v),
      swish: (v: number) => v / (1 + Math.exp(-v)),
    }
    for (const [kind, f] of Object.entries(formulas) as ['gelu' | 'swish', (v: number) => number][]) {
      const [y, dx] = [new Float32Array(1001), new Float32Array(1001)]
      primitives.activation(kind, 1001).run(address(x), address(y))
      const again = new Float32Array(1001)
      primitives.activationGradient(kind, 1001).run(address(x), address(dy), address(again), address(dx))
      const inPlace = x.slice()
      primitives.activation(kind, 1001).run(address(inPlace), address(inPlace))
      expect(inPlace, 'in place').toEqual(y)
      x.forEach((v, i) => {
        expect(y[i], `${kind}(${v})`).toBeCloseTo(f(v), 5)
        expect(again[i], `${kind}(${v})`).toBeCloseTo(f(v), 5)
        expect(dx[i], `${kind}′(${v})`).toBeCloseTo(((dy[i] as number) * (f(v + 1e-4) - f(v - 1e-4))) / 2e-4, 4)
      })
    }
  })

  test('activations stay finite and correct where an exponential would overflow', () => {
    const primitives = create()
    const x = Float32Array.of(-1e30, -1e4, -20, -1, 0, 1, 20, 1e4, 1e30)
    const [y, dx, ones] = [x.slice(), x.slice(), new Float32Array(x.length).fill(1)]
    for (const kind of ['gelu', 'swish'] as const) {
      primitives.activation(kind, x.length).run(address(x), address(y))
      primitives.activationGradient(kind, x.length).run(address(x), address(ones), address(y), address(dx))
      expect(y.slice(-3)).toEqual(x.slice(-3))
      expect([...dx.slice(-2)]).toEqual([1, 1])
      for (const value of [...y.slice(0, 2), ...dx.slice(0, 2)]) expect(Math.abs(value)).toBe(0)
      expect(y[4]).toBe(0)
      expect(dx[4]).toBeCloseTo(0.5, 6)
    }
  })
}

/** Φ(x) by its Taylor series about 0, whose terms all have one sign: Σ x^(2n+1) / (1·3·5 ... (2n+1)) · φ(x) + 1/2. */
function normal(x: number): number {
  let [sum, term] = [x, x]
  for (let i = 3; Math.abs(term) > 1e-17 * Math.abs(sum); i += 2) {
    term *= (x * x) / i
    sum += term
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)
}
