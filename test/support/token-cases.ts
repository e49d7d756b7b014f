/** Test cases of the kernels of the next tokens of a few texts, which have no gradient. */
import fc from 'fast-check'
import {
  type QuantizedMatrix,
  quantizedExpertFfn,
  quantizedExperts,
  quantizedOperand,
  quantizedProduct,
} from '../../src/core/graph/ops/quantized.ts'
import {
  attendCached,
  type ChoiceRule,
  chooseExperts,
  rowExperts,
  rowProduct,
  scaledRow,
  tableRows,
} from '../../src/core/graph/ops/token.ts'
import { type Bits, groupRows, quantizedBytes } from '../../src/core/graph/quantized-layout.ts'
import type { Tensor } from '../../src/core/graph/tensor.ts'
import * as g from '../../src/faces/library/graph.ts'
import { roundMatrix } from '../../src/use/infer/quantized/round-matrix.ts'
import type { KernelCase, KernelInput } from './kernel-check.ts'

type Tensors = Readonly<Record<string, Tensor>>
const of = (tensors: Tensors, name: string): Tensor => tensors[name] as Tensor

const integers = (values: readonly number[], shape: readonly number[] = [values.length]): KernelInput => ({
  shape,
  dtype: 'int32',
  values: (_, i) => values[i] as number,
})

interface ProductShape {
  /** Default: 1. */
  readonly rows?: number
  readonly inner: number
  readonly columns: number
  readonly transposed: boolean
  /** Whether an addend is computed before the product. */
  readonly plus?: boolean
}

const rowProductCase = ({ rows = 1, inner, columns, transposed, plus = false }: ProductShape): KernelCase => ({
  inputs: {
    x: { shape: [rows, inner] },
    w: { shape: transposed ? [columns, inner] : [inner, columns] },
    ...(plus && { c: { shape: [rows, columns] } }),
  },
  build(tensors) {
    const c = plus ? g.multiply(of(tensors, 'c'), 2) : null
    const product = rowProduct(of(tensors, 'x'), of(tensors, 'w'), { transposed })
    return c ? g.add(c, product) : product
  },
  reference(tensors) {
    const product = g.matmul(of(tensors, 'x'), of(tensors, 'w'), { transposeB: transposed })
    return plus ? g.add(g.multiply(of(tensors, 'c'), 2), product) : product
  },
  kernels: transposed ? ['row-product-transposed'] : ['row-product', 'sum-parts'],
  forward: true,
})

const tableRowsCase = (rows: number, width: number, index: readonly number[]): KernelCase => ({
  inputs: { table: { shape: [rows, width] }, index: integers(index) },
  build: (tensors) => tableRows(of(tensors, 'table'), of(tensors, 'index')),
  reference: (tensors) => g.gather(of(tensors, 'table'), of(tensors, 'index')),
  kernels: ['gather-rows'],
  forward: true,
})

const scaledRowCase = (rows: number, width: number, factor: number, plus: boolean): KernelCase => ({
  inputs: { x: { shape: [rows, width] }, ...(plus && { c: { shape: [rows, width] } }) },
  build(tensors) {
    const c = plus ? g.multiply(of(tensors, 'c'), 2) : null
    const scaled = scaledRow(of(tensors, 'x'), factor)
    return c ? g.add(c, scaled) : scaled
  },
  reference(tensors) {
    const scaled = g.multiply(of(tensors, 'x'), factor)
    return plus ? g.add(g.multiply(of(tensors, 'c'), 2), scaled) : scaled
  },
  kernels: ['sum-parts'],
  forward: true,
})

/** Weights [experts, inner, columns] of rounded values, and their quantized form as the words of an input. */
function quantizedWeights(
  bits: Bits,
  name: string,
  experts: number,
  inner: number,
  columns: number,
  value = (i: number) => Math.sin(i * i + name.length),
) {
  const bytes = quantizedBytes(bits, inner, columns)
  const values = Float32Array.from({ length: experts * inner * columns }, (_, i) => value(i))
  const packed = new Uint8Array(experts * bytes)
  for (let e = 0; e < experts; e++) {
    const matrix = values.subarray(e * inner * columns, (e + 1) * inner * columns)
    roundMatrix(matrix, { inner, columns, transposed: false }, bits, packed.subarray(e * bytes, (e + 1) * bytes))
  }
  return {
    input: integers([...new Int32Array(packed.buffer)], [experts, packed.length / 4 / experts]),
    matrix: (tensors: Tensors): QuantizedMatrix => ({ data: of(tensors, name), inner, columns, bits }),
    expert: (e: number): Tensor =>
      g.constant(values.subarray(e * inner * columns, (e + 1) * inner * columns), 'float64', [inner, columns]),
  }
}

/**
 * {@link quantizedWeights} of integers that have the scale 1, so that they change neither by rounding to `bits` nor to
 * bfloat16: the first row of each group has the largest number.
 */
function integerWeights(bits: Bits, name: string, experts: number, inner: number, columns: number) {
  const largest = bits === 4 ? -8 : 127
  return quantizedWeights(bits, name, experts, inner, columns, (i) => {
    const row = Math.floor(i / columns) % inner
    if (row % groupRows(bits) === 0) return largest
    return Math.trunc(Math.sin(i * i + name.length) * (Math.abs(largest) - 1))
  })
}

/** Rows of small integers, which bfloat16 can hold. */
const smallIntegers = (rows: number, inner: number): KernelInput => ({
  shape: [rows, inner],
  values: (random) => Math.round(random() * 8) - 4,
})

/** Rows of integers are rounded to int16 without an error if the largest is 32,767. */
const int16Rows = (rows: number, inner: number): KernelInput => ({
  shape: [rows, inner],
  values: (random, i) => (i % inner === 0 ? 32767 : Math.round(random() * 65534) - 32767),
})

interface QuantizedShape {
  readonly bits: Bits
  /** Default: 1. */
  readonly rows?: number
  readonly inner: number
  readonly columns: number
  readonly plus?: boolean
}

function quantizedProductCase({ bits, rows = 1, inner, columns, plus = false }: QuantizedShape): KernelCase {
  const w = quantizedWeights(bits, 'w', 1, inner, columns)
  return {
    inputs: { x: int16Rows(rows, inner), w: w.input, ...(plus && { c: { shape: [rows, columns] } }) },
    build(tensors) {
      const c = plus ? g.multiply(of(tensors, 'c'), 2) : null
      const product = quantizedProduct(of(tensors, 'x'), w.matrix(tensors))
      return c ? g.add(c, product) : product
    },
    reference(tensors) {
      const product = g.matmul(of(tensors, 'x'), w.expert(0))
      return plus ? g.add(g.multiply(of(tensors, 'c'), 2), product) : product
    },
    kernels: ['quantized-product'],
    forward: true,
  }
}

/** Quantized weights in the memory of the program: these kernels read them in any memory, and copy none. */
const inside = (matrix: QuantizedMatrix): QuantizedMatrix => {
  return { ...matrix, data: g.add(matrix.data, g.constant([0], 'int32', [1])) }
}

interface QuantizedMatmulShape extends Omit<QuantizedShape, 'plus'> {
  readonly transposed: boolean
}

function quantizedMatmulCase({ bits, rows = 1, inner, columns, transposed }: QuantizedMatmulShape): KernelCase {
  const w = integerWeights(bits, 'w', 1, inner, columns)
  return {
    inputs: { x: smallIntegers(rows, inner), w: w.input },
    build(tensors) {
      const operand = quantizedOperand(inside(w.matrix(tensors)), transposed)
      return g.matmul(of(tensors, 'x'), operand, { transposeB: transposed, alpha: 0.5 })
    },
    reference: (tensors) => g.matmul(of(tensors, 'x'), w.expert(0), { alpha: 0.5 }),
    kernels: ['quantized-matmul'],
    forward: true,
  }
}

interface QuantizedRowsShape extends Omit<QuantizedShape, 'rows' | 'plus'> {
  readonly bits: 16 | 8
  readonly index: readonly number[]
}

function quantizedRowsCase({ bits, inner, columns, index }: QuantizedRowsShape): KernelCase {
  const w = quantizedWeights(bits, 'w', 1, inner, columns)
  return {
    inputs: { w: w.input, index: integers(index) },
    build: (tensors) => g.gather(quantizedOperand(inside(w.matrix(tensors)), true), of(tensors, 'index')),
    reference: (tensors) => g.gather(g.transpose(w.expert(0), [1, 0]), of(tensors, 'index')),
    kernels: ['quantized-rows'],
    forward: true,
  }
}

interface QuantizedFfnShape extends Omit<QuantizedExpertsShape, 'experts' | 'rows'> {
  /** Number of rows of each expert, and of rows that no expert uses. */
  readonly rows: readonly number[]
  readonly left?: number
}

function quantizedFfnCase({ bits, rows, left = 0, width, hidden, gated }: QuantizedFfnShape): KernelCase {
  const [up, gate, down] = [
    integerWeights(bits, 'up', rows.length, width, hidden),
    integerWeights(bits, 'gate', rows.length, width, hidden),
    integerWeights(bits, 'down', rows.length, hidden, width),
  ]
  const used = rows.reduce((a, b) => a + b, 0)
  const weight = bits === 4 ? 4 : 64
  const typical = Math.sqrt(hidden) * weight * (2 * Math.sqrt(width) * weight) ** (gated ? 2 : 1)
  return {
    inputs: {
      x: smallIntegers(used + left, width),
      up: up.input,
      ...(gated && { gate: gate.input }),
      down: down.input,
    },
    build(tensors) {
      const [ofUp, ofDown] = [inside(up.matrix(tensors)), inside(down.matrix(tensors))]
      const weights = { up: ofUp, ...(gated && { gate: inside(gate.matrix(tensors)) }), down: ofDown }
      const y = quantizedExpertFfn(of(tensors, 'x'), g.constant([...rows, left], 'int64'), weights)
      return g.slice(y, 0, 0, used)
    },
    reference(tensors) {
      let from = 0
      const parts = rows.map((count, e) => {
        const x = g.slice(of(tensors, 'x'), 0, from, from + count)
        from += count
        const inner = g.matmul(x, up.expert(e))
        return g.matmul(gated ? g.multiply(swish(g.matmul(x, gate.expert(e))), inner) : g.gelu(inner), down.expert(e))
      })
      return g.concat(parts, 0)
    },
    kernels: ['quantized-expert-ffn'],
    forward: true,
    // Rows before the product with down are rounded to bfloat16, by at most 2⁻⁹ of each, and large terms may cancel.
    error: 2 ** -5,
    floor: typical,
  }
}

interface QuantizedExpertsShape {
  readonly bits: Bits
  /** The choices of one row after the other. */
  readonly experts: readonly number[]
  /** Default: 1. */
  readonly rows?: number
  readonly width: number
  readonly hidden: number
  readonly gated: boolean
}

function quantizedExpertsCase({ bits, experts, rows = 1, width, hidden, gated }: QuantizedExpertsShape): KernelCase {
  const [up, gate, down] = [
    quantizedWeights(bits, 'up', 5, width, hidden),
    quantizedWeights(bits, 'gate', 5, width, hidden),
    quantizedWeights(bits, 'down', 5, hidden, width),
  ]
  return {
    inputs: {
      x: { shape: [rows, width] },
      experts: integers(experts, [rows, experts.length / rows]),
      gates: { shape: [rows, experts.length / rows] },
      up: up.input,
      ...(gated && { gate: gate.input }),
      down: down.input,
    },
    build(tensors) {
      const weights = {
        up: up.matrix(tensors),
        ...(gated && { gate: gate.matrix(tensors) }),
        down: down.matrix(tensors),
      }
      return quantizedExperts(of(tensors, 'x'), of(tensors, 'experts'), of(tensors, 'gates'), weights)
    },
    reference(tensors) {
      return sumOfExperts(tensors, experts, (x, expert) => {
        const inner = g.matmul(x, up.expert(expert))
        const active = gated ? g.multiply(swish(g.matmul(x, gate.expert(expert))), inner) : g.gelu(inner)
        return g.matmul(active, down.expert(expert))
      })
    },
    kernels: ['quantized-experts-down', 'quantized-experts-up'],
    forward: true,
    // Rows are rounded by 1/65,534 of their largest number, which is at most 2·width, or its square.
    floor: 4 * (gated ? width : 1) * width * hidden,
  }
}

/** Rows [R, ·]: for each row of x the sum of the networks of its experts, scaled by its gates. */
function sumOfExperts(
  tensors: Tensors,
  experts: readonly number[],
  network: (x: Tensor, expert: number) => Tensor,
): Tensor {
  const [all, gates] = [of(tensors, 'x'), of(tensors, 'gates')]
  const [rows, choices] = gates.shape as [number, number]
  const sums = Array.from({ length: rows }, (_, r) => {
    const [x, gate] = [g.slice(all, 0, r, r + 1), g.slice(gates, 0, r, r + 1)]
    const outputs = Array.from({ length: choices }, (_, choice) =>
      g.multiply(network(x, experts[r * choices + choice] as number), g.slice(gate, 1, choice, choice + 1)),
    )
    return outputs.reduce((a, b) => g.add(a, b))
  })
  return g.concat(sums, 0)
}

interface CachedShape {
  /** Positions of a text, a multiple of those of a page. */
  readonly positions: number
  /** Positions of a page; default: all of a text. */
  readonly page?: number
  /** The position of each text. */
  readonly current: readonly number[]
  /** The pages of each text, one text's after the other's, which are all pages; default: in order. */
  readonly pages?: readonly number[]
  readonly heads: number
  readonly size: number
  readonly rotary: boolean
  /** Number of heads of keys and values; default: `heads`. */
  readonly keyHeads?: number
  /** Number of positions that are seen; default: all. */
  readonly window?: number
}

const paged = { positions: 96, page: 32 }

function attendCachedCase(shape: CachedShape): KernelCase {
  const { positions, current, heads, size, rotary, keyHeads = heads, window = null } = shape
  const { page = positions } = shape
  const texts = current.length
  const each = positions / page
  const pages = shape.pages ?? Array.from({ length: texts * each }, (_, i) => i)
  const pagesOf = (text: number) => pages.slice(text * each, (text + 1) * each)
  const width = keyHeads * size
  const scale = 1 / Math.sqrt(size)
  const angles = (of: (angle: number) => number): KernelInput => ({
    shape: [texts, size / 2],
    values: (_, i) => of((current[Math.floor(i / (size / 2))] as number) / (1 + (i % (size / 2)))),
  })
  const table = { shape: [texts * positions, width] }
  return {
    inputs: {
      qkv: { shape: [texts, heads * size + 2 * width] },
      keys: table,
      values: table,
      position: integers(current),
      pages: { ...integers(pages), shape: [texts, each] },
      ...(rotary && { cos: angles(Math.cos), sin: angles(Math.sin) }),
    },
    build(tensors) {
      const places = { position: of(tensors, 'position'), pages: of(tensors, 'pages') }
      const cached = { keys: of(tensors, 'keys'), values: of(tensors, 'values') }
      const cosAndSin = rotary ? ([of(tensors, 'cos'), of(tensors, 'sin')] as const) : null
      const shape = { heads, sequence: positions, page, scale, window }
      return attendCached(of(tensors, 'qkv'), places, cached, cosAndSin, shape)
    },
    reference(tensors) {
      const rowOf = (name: string, text: number) => g.slice(of(tensors, name), 0, text, text + 1)
      const results = current.map((position, text) => {
        const row = g.reshape(rowOf('qkv', text), [1, heads + 2 * keyHeads, 1, size])
        const [q, k, v] = g.split(row, 1, [heads, keyHeads, keyHeads]) as [Tensor, Tensor, Tensor]
        const rotated = (x: Tensor) => (rotary ? g.rotate(x, rowOf('cos', text), rowOf('sin', text)) : x)
        const pageOf = (name: string, number: number) =>
          g.slice(of(tensors, name), 0, number * page, (number + 1) * page)
        const written = (name: string, x: Tensor) => {
          const all = g.concat(
            pagesOf(text).map((number) => pageOf(name, number)),
            0,
          )
          return g.concat(
            [g.slice(all, 0, 0, position), g.reshape(x, [1, width]), g.slice(all, 0, position + 1, positions)],
            0,
          )
        }
        const [keys, values] = [written('keys', rotated(k)), written('values', v)]
        const first = window === null ? 0 : Math.max(0, position + 1 - window)
        const seen = position + 1 - first
        const byHead = (x: Tensor) =>
          g.transpose(g.reshape(g.slice(x, 0, first, position + 1), [seen, keyHeads, size]), [1, 0, 2])
        const queries = g.reshape(rotated(q), [keyHeads, heads / keyHeads, size])
        const scores = g.matmul(queries, byHead(keys), { transposeB: true, alpha: scale })
        const y = g.reshape(g.matmul(g.softmax(scores), byHead(values)), [1, heads * size])
        return { y, keys, values }
      })
      const table = (kind: 'keys' | 'values') =>
        pages.map((_, number) => {
          const at = pages.indexOf(number)
          const ofText = results[Math.floor(at / each)] as (typeof results)[number]
          return g.slice(ofText[kind], 0, (at % each) * page, ((at % each) + 1) * page)
        })
      const all = (each: readonly Tensor[]) => g.concat(each, 0)
      return [all(results.map(({ y }) => y)), all(table('keys')), all(table('values'))]
    },
    kernels: ['attend-cached'],
    forward: true,
  }
}

type ChoiceShape = Pick<ChoiceRule, 'prototypes' | 'k' | 'softmax' | 'renormalize'> &
  Partial<ChoiceRule> & {
    /** Default: 1. */
    readonly rows?: number
    readonly perPrototype: number
    readonly range?: number
    readonly biased?: boolean
  }

function chooseExpertsCase({
  rows = 1,
  perPrototype,
  range = 2,
  biased = false,
  ...settings
}: ChoiceShape): KernelCase {
  const rule: ChoiceRule = {
    ...{ scores: 'softmax', expertGroups: 1, groupsPerToken: 1, groupScore: 'max', routedScale: 1 },
    ...settings,
  }
  const { prototypes, k, softmax, renormalize, expertGroups, groupsPerToken } = rule
  const experts = prototypes * perPrototype
  const isSigmoid = rule.scores === 'sigmoid'
  const isLimited = groupsPerToken < expertGroups
  return {
    inputs: {
      logits: { shape: [rows, experts], values: (random) => range * (random() * 2 - 1) },
      ...(biased && { bias: { shape: [experts], values: (random) => random() - 0.5 } }),
    },
    build: (tensors) => chooseExperts(of(tensors, 'logits'), rule, tensors.bias),
    reference(tensors) {
      const choosers = rows * prototypes
      const logits = g.reshape(of(tensors, 'logits'), [choosers, perPrototype])
      const sigmoids = g.divide(1, g.add(g.exp(g.negate(logits)), 1))
      // Ranks logits if possible: among probabilities that round to the same float64 the first would win.
      const probabilities = (biased || isLimited) && softmax === 'before' ? g.softmax(logits) : logits
      const score = isSigmoid ? sigmoids : probabilities
      const biases = () => {
        const bias = g.reshape(of(tensors, 'bias'), [prototypes, perPrototype])
        return g.concat(Array<Tensor>(rows).fill(bias), 0)
      }
      const ranked = biased ? g.add(score, biases()) : score
      const [, local] = g.topK(isLimited ? inBestGroups(ranked, rule) : ranked, k)
      const best = g.takeAlong(logits, local, 1)
      const total = (x: Tensor) => g.sum(x, { axes: [-1], keepDims: true })
      const softmaxes = softmax === 'after' ? g.softmax(best) : g.exp(g.subtract(best, logSum(logits)))
      const shares = isSigmoid ? g.takeAlong(sigmoids, local, 1) : softmaxes
      const gates = g.multiply(renormalize ? g.divide(shares, total(shares)) : shares, rule.routedScale)
      const first = g.constant(
        Array.from({ length: choosers }, (_, chooser) => (chooser % prototypes) * perPrototype),
        'int32',
        [choosers, 1],
      )
      return [g.reshape(g.add(local, first), [rows, prototypes * k]), g.reshape(gates, [rows, prototypes * k])]
    },
    kernels: ['choose-experts'],
    forward: true,
  }
}

/** Scores [R, N], in which experts outside the best groups of a row are far below all others. */
function inBestGroups(scores: Tensor, { expertGroups, groupsPerToken, groupScore }: ChoiceRule): Tensor {
  const [rows, experts] = scores.shape as [number, number]
  const byGroup = g.reshape(scores, [rows * expertGroups, experts / expertGroups])
  const [best] = g.topK(byGroup, groupScore === 'max' ? 1 : 2)
  const worth = g.reshape(g.sum(best, { axes: [1] }), [rows, expertGroups])
  const [least] = g.topK(worth, groupsPerToken)
  const limit = g.slice(least, 1, groupsPerToken - 1, groupsPerToken)
  const isBest = g.reshape(g.greaterOrEqual(worth, limit), [rows * expertGroups, 1])
  return g.reshape(g.where(isBest, byGroup, -1e6), scores.shape)
}

const logSum = (logits: Tensor): Tensor => g.reshape(g.logSumExp(logits), [logits.shape[0] as number, 1])

/** x·σ(x) in place of `silu`, which ONNX Runtime fuses into an operator that it does not have in float64. */
const swish = (x: Tensor): Tensor => g.divide(x, g.add(g.exp(g.negate(x)), 1))

interface RowExpertsShape {
  /** The choices of one row after the other. */
  readonly experts: readonly number[]
  /** Default: 1. */
  readonly rows?: number
  readonly count: number
  readonly width: number
  readonly hidden: number
  readonly gated: boolean
  readonly range?: number
}

function rowExpertsCase({ experts, rows = 1, count, width, hidden, gated, range = 1 }: RowExpertsShape): KernelCase {
  const values = (random: () => number) => range * (random() * 2 - 1)
  return {
    inputs: {
      x: { shape: [rows, width] },
      experts: integers(experts, [rows, experts.length / rows]),
      gates: { shape: [rows, experts.length / rows] },
      up: { shape: [count, width, hidden], values },
      ...(gated && { gate: { shape: [count, width, hidden], values } }),
      down: { shape: [count, hidden, width], values },
    },
    build(tensors) {
      const weights = { up: of(tensors, 'up'), down: of(tensors, 'down') }
      const all = gated ? { ...weights, gate: of(tensors, 'gate') } : weights
      return rowExperts(of(tensors, 'x'), of(tensors, 'experts'), of(tensors, 'gates'), all)
    },
    reference(tensors) {
      return sumOfExperts(tensors, experts, (x, expert) => {
        const matrix = (name: string) => {
          const all = of(tensors, name)
          return g.reshape(g.slice(all, 0, expert, expert + 1), all.shape.slice(1))
        }
        const inner = g.matmul(x, matrix('up'))
        const active = gated ? g.multiply(swish(g.matmul(x, matrix('gate'))), inner) : g.gelu(inner)
        return g.matmul(active, matrix('down'))
      })
    },
    kernels: ['activate-parts', 'expert-row-product', 'sum-parts'],
    forward: true,
    // Where GELU is flat, 1 + erf cancels and only rounding errors remain.
    floor: 0.1,
  }
}

const sigmoid = { scores: 'sigmoid', softmax: 'before' } as const
const inGroups = { prototypes: 1, perPrototype: 12, k: 3, expertGroups: 4, groupsPerToken: 2 } as const

/** Large cases have each precision once: with this value of the setting that has two, of which both occur. */
const settingOf = (bits: Bits): boolean => bits !== 8

export const specialTokens: Record<string, KernelCase[]> = {
  'row-product': [true, false].flatMap((transposed) => [
    rowProductCase({ inner: 1, columns: 1, transposed }),
    rowProductCase({ inner: 7, columns: 131, transposed }),
    rowProductCase({ inner: 8, columns: 16, transposed, plus: true }),
    rowProductCase({ inner: 77, columns: 50, transposed, plus: true }),
    rowProductCase({ inner: 300, columns: 3, transposed }),
    rowProductCase({ inner: 1031, columns: 21, transposed, plus: true }),
    rowProductCase({ rows: 3, inner: 7, columns: 131, transposed }),
    rowProductCase({ rows: 2, inner: 1031, columns: 600, transposed, plus: true }),
  ]),
  'quantized-product': ([16, 8, 4] as const).flatMap((bits) => [
    quantizedProductCase({ bits, inner: 1, columns: 1 }),
    quantizedProductCase({ bits, inner: 64, columns: 16, plus: true }),
    quantizedProductCase({ bits, inner: 77, columns: 50 }),
    quantizedProductCase({ bits, inner: 300, columns: 131, plus: true }),
    quantizedProductCase({ bits, rows: 3, inner: 77, columns: 50, plus: true }),
  ]),
  'quantized-experts': ([16, 8, 4] as const).flatMap((bits) =>
    [true, false].flatMap((gated) => [
      quantizedExpertsCase({ bits, experts: [0], width: 1, hidden: 1, gated }),
      quantizedExpertsCase({ bits, experts: [4, 0, 2], width: 33, hidden: 47, gated }),
      quantizedExpertsCase({ bits, experts: [1, 1], width: 70, hidden: 130, gated }),
      quantizedExpertsCase({ bits, experts: [4, 0, 2, 0, 4, 0], rows: 3, width: 33, hidden: 47, gated }),
    ]),
  ),
  'quantized-matmul': ([16, 8, 4] as const).flatMap((bits) =>
    [true, false].flatMap((transposed) => [
      quantizedMatmulCase({ bits, inner: 1, columns: 1, transposed }),
      quantizedMatmulCase({ bits, rows: 64, inner: 64, columns: 64, transposed }),
      quantizedMatmulCase({ bits, rows: 3, inner: 77, columns: 50, transposed }),
      // A single column after whole bands, and more rows than a piece.
      quantizedMatmulCase({ bits, rows: 5, inner: 33, columns: 129, transposed }),
      ...(transposed === settingOf(bits)
        ? [
            quantizedMatmulCase({ bits, rows: 5, inner: 300, columns: 257, transposed }),
            quantizedMatmulCase({ bits, rows: 1030, inner: 97, columns: 700, transposed }),
          ]
        : []),
    ]),
  ),
  'quantized-rows': ([16, 8] as const).flatMap((bits) => [
    quantizedRowsCase({ bits, inner: 1, columns: 1, index: [0] }),
    quantizedRowsCase({ bits, inner: 64, columns: 16, index: [15, 0, 15] }),
    quantizedRowsCase({ bits, inner: 77, columns: 50, index: [49, 16, 3] }),
    quantizedRowsCase({ bits, inner: 9, columns: 70, index: Array.from({ length: 150 }, (_, i) => (i * 31) % 70) }),
  ]),
  'quantized-expert-ffn': ([16, 8, 4] as const).flatMap((bits) =>
    [true, false].flatMap((gated) => [
      quantizedFfnCase({ bits, rows: [1], width: 1, hidden: 1, gated }),
      quantizedFfnCase({ bits, rows: [0, 3, 0, 17, 1], left: 5, width: 33, hidden: 47, gated }),
      ...(gated === settingOf(bits)
        ? [
            // More columns than a band.
            quantizedFfnCase({ bits, rows: [2, 0, 3], width: 257, hidden: 530, gated }),
            // More rows than a piece.
            quantizedFfnCase({ bits, rows: [513, 0, 1100], left: 2, width: 5, hidden: 19, gated }),
          ]
        : []),
    ]),
  ),
  'scaled-row': [scaledRowCase(1, 1, 3, false), scaledRowCase(1, 70, -0.5, true), scaledRowCase(3, 21, 2, true)],
  'table-rows': [tableRowsCase(1, 1, [0]), tableRowsCase(9, 37, [8]), tableRowsCase(9, 37, [8, 0, 8])],
  'attend-cached': [
    attendCachedCase({ positions: 1, current: [0], heads: 1, size: 2, rotary: true }),
    attendCachedCase({ positions: 5, current: [0], heads: 3, size: 1, rotary: false }),
    attendCachedCase({ positions: 40, current: [39], heads: 2, size: 10, rotary: true }),
    attendCachedCase({ positions: 300, current: [123], heads: 5, size: 8, rotary: true }),
    attendCachedCase({ positions: 17, current: [9], heads: 4, size: 7, rotary: false }),
    attendCachedCase({ positions: 40, current: [30], heads: 6, keyHeads: 2, size: 10, rotary: true }),
    attendCachedCase({ positions: 40, current: [39], heads: 5, keyHeads: 1, size: 3, rotary: false, window: 7 }),
    attendCachedCase({ positions: 70, current: [5], heads: 4, keyHeads: 2, size: 4, rotary: true, window: 33 }),
    attendCachedCase({ positions: 9, current: [8], heads: 2, size: 4, rotary: true, window: 1 }),
    attendCachedCase({ positions: 1, current: [0, 0, 0], pages: [2, 0, 1], heads: 2, size: 4, rotary: true }),
    attendCachedCase({ positions: 40, current: [39, 0, 17], pages: [1, 2, 0], heads: 2, size: 10, rotary: true }),
    attendCachedCase({ positions: 70, current: [5, 69], heads: 4, keyHeads: 2, size: 8, rotary: true, window: 33 }),
    attendCachedCase({ ...paged, current: [64], heads: 2, size: 4, rotary: false }),
    attendCachedCase({ ...paged, current: [31, 95], pages: [5, 0, 3, 1, 4, 2], heads: 3, size: 4, rotary: true }),
    attendCachedCase({ ...paged, current: [80], heads: 4, keyHeads: 2, size: 8, rotary: true, window: 40 }),
  ],
  'choose-experts': [
    chooseExpertsCase({ prototypes: 1, perPrototype: 1, k: 1, softmax: 'before', renormalize: false }),
    chooseExpertsCase({ prototypes: 1, perPrototype: 9, k: 9, softmax: 'before', renormalize: true }),
    chooseExpertsCase({ prototypes: 3, perPrototype: 5, k: 2, softmax: 'after', renormalize: false }),
    chooseExpertsCase({ prototypes: 2, perPrototype: 7, k: 1, softmax: 'before', renormalize: false, range: 80 }),
    chooseExpertsCase({ prototypes: 1, perPrototype: 9, k: 3, softmax: 'before', renormalize: false, biased: true }),
    chooseExpertsCase({ prototypes: 1, perPrototype: 6, k: 2, softmax: 'after', renormalize: false, biased: true }),
    chooseExpertsCase({ prototypes: 3, perPrototype: 5, k: 2, softmax: 'before', renormalize: true, biased: true }),
    chooseExpertsCase({ ...sigmoid, prototypes: 1, perPrototype: 1, k: 1, renormalize: false }),
    chooseExpertsCase({ ...sigmoid, prototypes: 2, perPrototype: 6, k: 2, renormalize: true, routedScale: 2.5 }),
    chooseExpertsCase({ ...inGroups, softmax: 'before', renormalize: false, routedScale: 16 }),
    chooseExpertsCase({ ...inGroups, softmax: 'after', renormalize: false, groupScore: 'top-2', biased: true }),
    chooseExpertsCase({ ...inGroups, ...sigmoid, renormalize: true, groupScore: 'top-2', biased: true }),
    chooseExpertsCase({ ...inGroups, ...sigmoid, renormalize: false, expertGroups: 12, groupsPerToken: 5 }),
    chooseExpertsCase({
      rows: 3,
      prototypes: 3,
      perPrototype: 5,
      k: 2,
      softmax: 'before',
      renormalize: true,
      biased: true,
    }),
    chooseExpertsCase({ rows: 2, ...inGroups, ...sigmoid, renormalize: true, groupScore: 'top-2', biased: true }),
  ],
  'row-experts': [true, false].flatMap((gated) => [
    rowExpertsCase({ experts: [0], count: 1, width: 1, hidden: 1, gated }),
    rowExpertsCase({ experts: [4, 0, 2], count: 5, width: 33, hidden: 47, gated }),
    rowExpertsCase({ experts: [1, 0], count: 2, width: 300, hidden: 533, gated }),
    rowExpertsCase({ experts: [1, 1], count: 2, width: 70, hidden: 16, gated }),
    rowExpertsCase({ experts: [2], count: 3, width: 9, hidden: 130, gated, range: 100 }),
    rowExpertsCase({ experts: [4, 0, 2, 0, 4, 0], rows: 3, count: 5, width: 33, hidden: 47, gated }),
    rowExpertsCase({ experts: [1, 0, 1], rows: 3, count: 2, width: 300, hidden: 533, gated }),
  ]),
}

const integer = (min: number, max: number) => fc.integer({ min, max })
const bits = fc.constantFrom<Bits>(16, 8, 4)
const rows = integer(1, 4)
/** Choices of some rows among five experts. */
const chosen = fc.tuple(rows, integer(1, 4)).chain(([rows, choices]) => {
  const length = rows * choices
  return fc.array(integer(0, 4), { minLength: length, maxLength: length }).map((experts) => ({ rows, experts }))
})
export const drawnTokens: Record<keyof typeof specialTokens, fc.Arbitrary<KernelCase>> = {
  'row-product': fc
    .record({ rows, inner: integer(1, 90), columns: integer(1, 200), transposed: fc.boolean(), plus: fc.boolean() })
    .map(rowProductCase),
  'quantized-product': fc
    .record({ bits, rows, inner: integer(1, 150), columns: integer(1, 90), plus: fc.boolean() })
    .map(quantizedProductCase),
  'quantized-experts': fc
    .record({
      bits,
      chosen,
      width: integer(1, 60),
      hidden: integer(1, 60),
      gated: fc.boolean(),
    })
    .map(({ chosen, ...shape }) => quantizedExpertsCase({ ...shape, ...chosen })),
  'quantized-matmul': fc
    .record({ bits, rows: integer(1, 70), inner: integer(1, 150), columns: integer(1, 200), transposed: fc.boolean() })
    .map(quantizedMatmulCase),
  'quantized-rows': fc
    .record({
      bits: fc.constantFrom(16, 8),
      inner: integer(1, 150),
      columns: integer(1, 90),
      choices: fc.array(fc.nat()),
    })
    .map(({ bits, inner, columns, choices }) =>
      quantizedRowsCase({ bits, inner, columns, index: [0, ...choices.map((i) => i % columns)] }),
    ),
  'quantized-expert-ffn': fc
    .record({
      bits,
      rows: fc.array(integer(0, 9), { minLength: 1, maxLength: 5 }).filter((all) => all.some((count) => count > 0)),
      left: integer(0, 3),
      width: integer(1, 60),
      hidden: integer(1, 60),
      gated: fc.boolean(),
    })
    .map(quantizedFfnCase),
  'scaled-row': fc
    .record({ rows, width: integer(1, 90), factor: fc.constantFrom(0.5, -3), plus: fc.boolean() })
    .map(({ rows, width, factor, plus }) => scaledRowCase(rows, width, factor, plus)),
  'table-rows': fc
    .tuple(integer(1, 20), integer(1, 90), fc.array(fc.nat(), { minLength: 1, maxLength: 4 }))
    .map(([rows, width, index]) =>
      tableRowsCase(
        rows,
        width,
        index.map((i) => i % rows),
      ),
    ),
  'attend-cached': fc
    .record({
      positions: integer(1, 90),
      pages: integer(0, 3),
      last: fc.boolean(),
      current: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
      keyHeads: integer(1, 5),
      shared: integer(1, 4),
      half: integer(1, 9),
      rotary: fc.boolean(),
      window: integer(1, 100),
    })
    .map(({ positions: short, pages, last, current, shared, half, ...shape }) => {
      const heads = shared * shape.keyHeads
      // Without pages a text is one page. Otherwise the first text has the last pages, or the first ones.
      const positions = pages === 0 ? short : 32 * pages
      const order = Array.from({ length: current.length * pages }, (_, i) => i)
      return attendCachedCase({
        ...shape,
        ...(pages > 0 && { page: 32, pages: last ? order.reverse() : order }),
        heads,
        positions,
        current: current.map((at) => at % positions),
        size: 2 * half,
      })
    }),
  'choose-experts': fc.oneof(
    fc
      .record({
        rows,
        prototypes: integer(1, 4),
        perPrototype: integer(2, 40),
        k: integer(1, 2),
        softmax: fc.constantFrom('before' as const, 'after' as const),
        renormalize: fc.boolean(),
        biased: fc.boolean(),
      })
      .map(chooseExpertsCase),
    fc
      .record({
        rows,
        expertGroups: integer(1, 9),
        groupsPerToken: integer(1, 9),
        perGroup: integer(2, 9),
        groupScore: fc.constantFrom('max' as const, 'top-2' as const),
        scores: fc.constantFrom('softmax' as const, 'sigmoid' as const),
        k: integer(1, 2),
        renormalize: fc.boolean(),
        biased: fc.boolean(),
        routedScale: fc.constantFrom(1, 2.5),
      })
      .map(({ groupsPerToken, perGroup, ...rule }) =>
        chooseExpertsCase({
          ...rule,
          prototypes: 1,
          softmax: 'before',
          perPrototype: perGroup * rule.expertGroups,
          groupsPerToken: Math.min(groupsPerToken, rule.expertGroups),
        }),
      ),
  ),
  'row-experts': fc
    .record({
      chosen,
      width: integer(1, 60),
      hidden: integer(1, 60),
      gated: fc.boolean(),
    })
    .map(({ chosen, ...shape }) => rowExpertsCase({ ...shape, ...chosen, count: 5 })),
}
