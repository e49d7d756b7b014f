/**
 * Builders of test cases for every op that uses kernels: random numbers in difficult shapes. These are sizes 0
 * and 1, sizes that are no multiple of any tile or exceed a block of the kernel, dropped and empty rows, and
 * numbers at which a careless formula overflows.
 */
import { sizeOf } from '../../src/core/graph/shape.ts'
import type { Tensor } from '../../src/core/graph/tensor.ts'
import * as g from '../../src/faces/library/graph.ts'
import { testRandom } from './gradient-check.ts'
import type { Dtype, KernelCase, KernelInput } from './kernel-check.ts'

type Tensors = Readonly<Record<string, Tensor>>
const of = (tensors: Tensors, name: string): Tensor => tensors[name] as Tensor

export interface MatmulShape {
  readonly batch?: readonly number[]
  readonly m: number
  readonly k: number
  readonly n: number
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  readonly alpha?: number
  /** Source of an addend of the product: an input, ONNX Runtime, or a kernel. */
  readonly plus?: 'input' | 'onnx' | 'kernel'
  readonly size?: number
}

export function matmulCase(shape: MatmulShape): KernelCase {
  const { batch = [], m, k, n, transposeA = false, transposeB = false, alpha = 1, plus, size = 1 } = shape
  const values = (random: () => number) => size * (random() * 2 - 1)
  return {
    inputs: {
      a: { shape: [...batch, ...(transposeA ? [k, m] : [m, k])], values },
      b: { shape: [...batch, ...(transposeB ? [n, k] : [k, n])], values },
      ...(plus && { c: { shape: [...batch, m, n], values } }),
    },
    build(tensors) {
      // The addend is computed before the product, as it must be.
      const c = plus && addend(of(tensors, 'c'), plus)
      const product = g.matmul(of(tensors, 'a'), of(tensors, 'b'), { transposeA, transposeB, alpha })
      return c ? g.add(c, product) : product
    },
    kernels: [...batch, m, k, n].includes(0) ? [] : ['matmul'],
  }
}

function addend(c: Tensor, source: 'input' | 'onnx' | 'kernel'): Tensor {
  if (source === 'input') return c
  if (source === 'onnx') return g.multiply(c, 0.5)
  const width = c.shape.at(-1) as number
  const identity = Float64Array.from({ length: width * width }, (_, i) => Number(i % (width + 1) === 0))
  const flat = g.reshape(c, [sizeOf(c.shape) / width, width])
  return g.reshape(g.matmul(flat, g.constant(identity, c.dtype, [width, width])), c.shape)
}

export interface AttentionCase {
  readonly batch: number
  readonly sequence: number
  readonly heads: number
  /** Number of heads of keys and values; default: `heads`. */
  readonly keyHeads?: number
  /** Width of a head. */
  readonly size: number
  readonly rotary: boolean
  /** Largest values of q and k. */
  readonly range?: number
  /** Positions at which documents begin inside a sequence; each sequence has one fewer than the sequence before. */
  readonly documents?: readonly number[]
  /** Number of positions that a token sees, itself included; default: all of its document. */
  readonly window?: number
}

export function attentionCase(shape: AttentionCase): KernelCase {
  const { batch, sequence, heads, keyHeads = heads, size, rotary, range = 2, documents, window } = shape
  const [tokens, width, columns] = [batch * sequence, heads * size, (heads + 2 * keyHeads) * size]
  // The sequences differ, so that mixing them up would show.
  const startsOf = (b: number) => [0, ...(documents ?? []).slice(0, (documents?.length ?? 0) - b)]
  const document = (t: number) => Math.max(...startsOf(Math.floor(t / sequence)).filter((at) => at <= t % sequence))
  const first = (t: number) => Math.max(document(t), (t % sequence) + 1 - (window ?? sequence))
  const scale = 1 / Math.sqrt(size)
  const table = (f: (angle: number) => number, dtype: Dtype) =>
    g.constant(
      Float32Array.from({ length: (sequence * size) / 2 }, (_, i) =>
        f(Math.floor(i / (size / 2)) / (1 + (i % (size / 2)))),
      ),
      dtype,
      [sequence, size / 2],
    )
  const tables = (dtype: Dtype) => [table(Math.cos, dtype), table(Math.sin, dtype)] as const
  return {
    inputs: {
      qkv: {
        shape: [tokens, columns],
        values: (random, i) => (i % columns < columns - keyHeads * size ? range : 2) * (random() * 2 - 1),
      },
      ...((documents || window) && { first: { shape: [tokens], values: (_, t) => first(t), dtype: 'int32' } }),
    },
    build: (tensors, dtype) => {
      const angles = rotary ? tables(dtype) : null
      const attention = { batch, sequence, heads, keyHeads, scale, ...(window && { window }) }
      return g.attentionKernel(of(tensors, 'qkv'), angles, attention, tensors.first)
    },
    reference(tensors) {
      const split = g.transpose(g.reshape(of(tensors, 'qkv'), [batch, sequence, columns / size, size]), [0, 2, 1, 3])
      const [q, k, v] = g.split(split, 1, [heads, keyHeads, keyHeads]) as [Tensor, Tensor, Tensor]
      const rotated = (x: Tensor) => (rotary ? g.rotate(x, ...tables('float64')) : x)
      const y = g.causalAttention(rotated(q), rotated(k), v, scale, tensors.first)
      return g.reshape(g.transpose(y, [0, 2, 1, 3]), [tokens, width])
    },
    kernels: ['attention', 'attention-gradient'],
    // Where one key has all the weight, dy·v and dy·y cancel; the rounding that remains is multiplied by q and k.
    ...(range > 2 && { floor: range / 10 }),
    ...(range > 1e6 && { gradientFloor: range ** 2 / 50 }),
  }
}

export interface ExpertCase {
  /** Number of rows of each expert, or of each source rank and expert. */
  readonly rows: readonly number[]
  /** Number of ranks that rows come from; default: 1. */
  readonly sources?: number
  /** Whether gradients of weights are kept by source and summed by a kernel of their own; default: false. */
  readonly bySource?: boolean
  /** Number of rows that no expert uses. */
  readonly left?: number
  readonly width: number
  readonly hidden: number
  readonly gated: boolean
  readonly accumulate?: boolean
  readonly range?: number
}

export function expertCase({
  rows,
  left = 0,
  width,
  hidden,
  gated,
  accumulate = false,
  range = 2,
  sources = 1,
  bySource = false,
}: ExpertCase): KernelCase {
  const experts = rows.length / sources
  const used = rows.reduce((a, b) => a + b, 0)
  const values = (random: () => number) => random() * 2 - 1
  return {
    inputs: {
      x: { shape: [used, width], values: (random) => range * (random() * 2 - 1) },
      up: { shape: [experts, width, hidden], values },
      ...(gated && { gate: { shape: [experts, width, hidden], values } }),
      down: { shape: [experts, hidden, width], values },
    },
    build(tensors, dtype) {
      const unused = g.constant(new Float64Array(left * width), dtype, [left, width])
      const all = left > 0 ? g.concat([of(tensors, 'x'), unused], 0) : of(tensors, 'x')
      const [up, down] = [of(tensors, 'up'), of(tensors, 'down')]
      const weights = { up, down, ...(gated && { gate: of(tensors, 'gate') }) }
      const y = g.expertFfnKernel(all, weights, g.constant([...rows, left], 'int64'), { bySource })
      return left > 0 ? g.slice(y, 0, 0, used) : y
    },
    reference(tensors) {
      let from = 0
      const parts = rows.map((count, group) => {
        const e = group % experts
        const matrix = (name: string) => {
          const all = of(tensors, name)
          return g.reshape(g.slice(all, 0, e, e + 1), all.shape.slice(1))
        }
        const x = g.slice(of(tensors, 'x'), 0, from, from + count)
        from += count
        const inner = g.matmul(x, matrix('up'))
        return g.matmul(gated ? g.multiply(g.silu(g.matmul(x, matrix('gate'))), inner) : g.gelu(inner), matrix('down'))
      })
      return g.concat(parts, 0)
    },
    kernels: ['expert-ffn', 'expert-ffn-gradient', ...(bySource ? ['sum-sources'] : [])],
    accumulate,
  }
}

/** A case of experts with one matrix each; `hidden` is its number of columns. */
export function expertLinearCase({
  rows,
  left = 0,
  width,
  hidden: columns,
  accumulate = false,
  range = 2,
  sources = 1,
  bySource = false,
}: Omit<ExpertCase, 'gated'>): KernelCase {
  const experts = rows.length / sources
  const used = rows.reduce((a, b) => a + b, 0)
  return {
    inputs: {
      x: { shape: [used, width], values: (random) => range * (random() * 2 - 1) },
      weight: { shape: [experts, width, columns], values: (random) => random() * 2 - 1 },
    },
    build(tensors, dtype) {
      const unused = g.constant(new Float64Array(left * width), dtype, [left, width])
      const all = left > 0 ? g.concat([of(tensors, 'x'), unused], 0) : of(tensors, 'x')
      const y = g.expertLinearKernel(all, of(tensors, 'weight'), g.constant([...rows, left], 'int64'), { bySource })
      return left > 0 ? g.slice(y, 0, 0, used) : y
    },
    reference(tensors) {
      let from = 0
      const parts = rows.map((count, group) => {
        const e = group % experts
        const matrix = g.reshape(g.slice(of(tensors, 'weight'), 0, e, e + 1), [width, columns])
        const x = g.slice(of(tensors, 'x'), 0, from, from + count)
        from += count
        return g.matmul(x, matrix)
      })
      return g.concat(parts, 0)
    },
    kernels: ['expert-linear', 'expert-linear-gradient', ...(bySource ? ['sum-sources'] : [])],
    accumulate,
  }
}

export interface RoutingCase {
  readonly tokens: number
  readonly choices: number
  readonly width: number
  /** Number of empty slots. */
  readonly empty: number
  /** Share of assignments without a slot. */
  readonly dropped: number
  readonly seed: number
  /** Whether the combined rows are added to a residual stream. */
  readonly residual?: boolean
}

/** A case of dispatch, product and combine, which uses every kernel that moves rows. */
export function routingCase({
  tokens,
  choices,
  width,
  empty,
  dropped,
  seed,
  residual = false,
}: RoutingCase): KernelCase {
  const random = testRandom(seed)
  const assignments = Array.from({ length: tokens * choices }, (_, a) => a).filter(() => random() >= dropped)
  const holders: (number | null)[] = [...assignments, ...Array.from({ length: empty }, () => null)]
  for (let i = holders.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[holders[i], holders[j]] = [holders[j] as number | null, holders[i] as number | null]
  }
  const slots = holders.length
  const ints = (values: readonly number[]): KernelInput => ({
    shape: [values.length],
    dtype: 'int32',
    values: (_, i) => values[i] as number,
  })
  const slotOf = (a: number) => Math.max(0, holders.indexOf(a))
  const all = Array.from({ length: tokens * choices }, (_, a) => a)
  const plan = (tensors: Tensors, dtype: Dtype): g.SlotMap => ({
    tokenOfSlot: of(tensors, 'tokenOfSlot'),
    assignmentOfSlot: of(tensors, 'assignmentOfSlot'),
    slotOfAssignment: g.reshape(of(tensors, 'slotOfAssignment'), [tokens, choices]),
    ...(empty > 0 && {
      occupied: g.constant(
        holders.map((a) => Number(a !== null)),
        dtype,
        [slots],
      ),
    }),
    ...(dropped > 0 && {
      kept: g.constant(
        all.map((a) => Number(holders.includes(a))),
        dtype,
        [tokens, choices],
      ),
    }),
  })
  return {
    inputs: {
      x: { shape: [tokens, width] },
      factor: { shape: [slots, width] },
      gate: { shape: [tokens, choices] },
      ...(residual && { residual: { shape: [tokens, width] } }),
      tokenOfSlot: ints(holders.map((a) => (a === null ? 0 : Math.floor(a / choices)))),
      assignmentOfSlot: ints(holders.map((a) => a ?? 0)),
      slotOfAssignment: ints(all.map(slotOf)),
    },
    build(tensors, dtype) {
      const slotPlan = plan(tensors, dtype)
      // The addend is computed before the combination, as it must be.
      const stream = residual ? g.multiply(of(tensors, 'residual'), 2) : null
      const rows = g.dispatch(of(tensors, 'x'), slotPlan)
      const moved = slotPlan.occupied ? g.multiply(rows, g.reshape(slotPlan.occupied, [slots, 1])) : rows
      const combined = g.combine(g.multiply(moved, of(tensors, 'factor')), of(tensors, 'gate'), slotPlan)
      return stream ? g.add(stream, combined) : combined
    },
    kernels: ['combine-rows', 'gather-gated-rows', 'gather-rows', 'row-dots'],
  }
}

export interface CrossEntropyCase {
  readonly rows: number
  readonly width: number
  readonly vocabulary: number
  /** Share of the targets that are not counted. */
  readonly uncounted: number
  /** Makes logits exact in float32: x has multiples of this number, and the head small integers. */
  readonly exact?: number
}

export function crossEntropyCase({ rows, width, vocabulary, uncounted, exact }: CrossEntropyCase): KernelCase {
  const integer = (random: () => number) => Math.floor(random() * 9) - 4
  return {
    inputs: {
      x: { shape: [rows, width], ...(exact && { values: (random) => exact * integer(random) }) },
      head: { shape: [vocabulary, width], ...(exact && { values: integer }) },
      targets: {
        shape: [rows],
        dtype: 'int32',
        values: (random) =>
          random() < uncounted ? -1 - Math.floor(random() * 100) : Math.floor(random() * vocabulary),
      },
    },
    build: (tensors) => g.linearCrossEntropy(of(tensors, 'x'), of(tensors, 'head'), of(tensors, 'targets')),
    kernels: rows === 0 ? [] : ['linear-cross-entropy', 'matmul'],
    // The gradient is p − 1 for the target, and p may be close to 1.
    floor: 0.5,
  }
}

export interface NormCase {
  readonly rows: number
  readonly width: number
  readonly size?: number
  /** Whether x is added to its norm, so that the gradient of the norm is added to the gradient of x. */
  readonly residual?: boolean
}

export const normCase = ({ rows, width, size = 1, residual = false }: NormCase): KernelCase => ({
  inputs: { x: { shape: [rows, width], values: (random) => size * (random() * 2 - 1) }, weight: { shape: [width] } },
  build(tensors) {
    const x = of(tensors, 'x')
    // In a narrow row little is left of dy after its part along x is removed, so a larger ε keeps it accurate.
    const y = g.rmsNorm(x, of(tensors, 'weight'), width < 8 ? 0.5 : 1e-5)
    return residual ? g.add(g.multiply(x, 1 / size), y) : y
  },
  kernels: ['rms-norm', 'rms-norm-gradient'],
  // The gradient of a weight is a sum over rows, in which terms of this size can cancel; a wide row has larger ones.
  ...(width < 8 && { gradientFloor: 0.1 }),
})
