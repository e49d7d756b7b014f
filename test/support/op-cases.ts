/**
 * Small programs for every op of the registry, with difficult shapes: empty, size 1, broadcast, repeated indices. The
 * gradients of all ops are checked in float64; a device must give the same results in float32.
 */
import { sumSources } from '../../src/core/graph/ops/all-to-all.ts'
import type { Tensor } from '../../src/core/graph/tensor.ts'
import * as g from '../../src/faces/library/graph.ts'
import type { CheckInput } from './gradient-check.ts'

export interface OpCase {
  readonly inputs: readonly CheckInput[]
  readonly build: (...tensors: Tensor[]) => Tensor | readonly Tensor[]
}

const of = (...shapes: number[][]): CheckInput[] => shapes.map((shape) => ({ shape }))
const positive = (...shapes: number[][]): CheckInput[] =>
  shapes.map((shape) => ({ shape, values: (random) => 0.5 + random() }))
const ints = (values: number[], shape = [values.length]) => g.constant(values, 'int32', shape)

/** Shapes for elementwise ops with two operands: equal, broadcast both ways, size 1, scalar, empty. */
const pairs = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [
    [4, 1],
    [1, 3],
  ],
  [
    [2, 1, 3],
    [5, 1],
  ],
  [[], [2]],
  [[1], [1]],
  [[0, 3], [3]],
] as const
const two = (build: (a: Tensor, b: Tensor) => Tensor, make = of): OpCase[] =>
  pairs.map(([a, b]) => ({ inputs: make([...a], [...b]), build: build as OpCase['build'] }))
const one = (build: (x: Tensor) => Tensor, make = of, shapes = [[2, 3], [1], [3, 1, 2], [0, 2]]): OpCase[] =>
  shapes.map((shape) => ({ inputs: make(shape), build: build as OpCase['build'] }))

const gram = (x: Tensor): Tensor => g.matmul(x, x, { transposeA: true })

/** The programs of each op. */
export function opCases(dtype: 'float32' | 'float64'): Record<string, OpCase[]> {
  const slots: g.SlotMap = {
    // Three tokens with two choices each and five slots: two choices are dropped, slot 4 is empty.
    tokenOfSlot: ints([0, 1, 2, 0, 0]),
    assignmentOfSlot: ints([0, 3, 5, 1, 0]),
    slotOfAssignment: ints([0, 3, 0, 1, 0, 2], [3, 2]),
    occupied: g.constant([1, 1, 1, 1, 0], dtype),
    kept: g.constant([1, 1, 0, 1, 0, 1], dtype, [3, 2]),
  }
  const dense: g.SlotMap = {
    tokenOfSlot: ints([1, 0, 2]),
    assignmentOfSlot: ints([1, 0, 2]),
    slotOfAssignment: ints([1, 0, 2], [3, 1]),
  }
  // Three experts with two, no and two slots; one slot is unused.
  const ragged: g.RaggedSlotMap = { ...slots, sizes: g.constant([2, 0, 2, 1], 'int64') }

  return {
    add: two(g.add),
    subtract: two(g.subtract),
    multiply: two(g.multiply),
    divide: two(g.divide, positive),
    maximum: two(g.maximum),
    minimum: two(g.minimum),
    negate: one(g.negate),
    exp: one(g.exp),
    log: one(g.log, positive),
    sqrt: one(g.sqrt, positive),
    tanh: one(g.tanh),
    sigmoid: one(g.sigmoid),
    square: one(g.square),
    erf: one(g.erf),
    silu: one(g.silu),
    'erf-gate': [...one(g.erfGate), ...one(g.gelu)],
    where: two((a, b) => g.where(g.less(a, b), g.multiply(a, b), g.add(a, b))),
    cast: one((x) => g.cast(x, dtype)),
    'broadcast-to': [
      { inputs: of([3, 1]), build: (x) => g.broadcastTo(x as Tensor, [2, 3, 4]) },
      { inputs: of([]), build: (x) => g.broadcastTo(x as Tensor, [2]) },
      { inputs: of([1]), build: (x) => g.broadcastTo(x as Tensor, [0]) },
    ],
    sum: [
      ...one((x: Tensor) => g.sum(x)),
      ...one((x) => g.sum(x, { axes: [0] })),
      ...one((x) => g.sum(x, { axes: [-1], keepDims: true })),
      {
        inputs: of([3, 4]),
        build: (x) => g.sum(g.rmsNorm(x as Tensor, g.constant([1, 2, 3, 4], dtype), 0.1)),
      },
    ],
    mean: [...one((x) => g.mean(x, { axes: [-1] })), ...one((x) => g.mean(x), of, [[2, 3], [1]])],
    max: one((x) => g.max(x, { axes: [-1], keepDims: true }), of, [[2, 3], [1], [3, 1, 2]]),
    reshape: [
      { inputs: of([2, 3]), build: (x) => g.reshape(x as Tensor, [3, 1, 2]) },
      { inputs: of([0, 3]), build: (x) => g.reshape(x as Tensor, [3, 0]) },
      { inputs: of([1]), build: (x) => g.reshape(x as Tensor, []) },
    ],
    transpose: [
      { inputs: of([2, 3, 4]), build: (x) => g.transpose(x as Tensor, [2, 0, 1]) },
      { inputs: of([0, 3]), build: (x) => g.transpose(x as Tensor, [1, 0]) },
    ],
    slice: [
      { inputs: of([4, 3]), build: (x) => g.slice(x as Tensor, 0, 1, 3) },
      { inputs: of([4, 3]), build: (x) => g.slice(x as Tensor, -1, 2, 2) },
    ],
    concat: [
      { inputs: of([2, 3], [2, 1], [2, 0]), build: (...parts) => g.concat(parts, 1) },
      { inputs: of([3], [3]), build: (...parts) => g.concat(parts, -1) },
    ],
    split: [
      { inputs: of([2, 5]), build: (x) => g.split(x as Tensor, 1, [2, 0, 3]) },
      // A part that nothing depends on has a gradient of zeros.
      { inputs: of([5]), build: (x) => g.split(x as Tensor, 0, [2, 3])[1] as Tensor },
    ],
    matmul: [
      { inputs: of([2, 3], [3, 4]), build: (a, b) => g.matmul(a as Tensor, b as Tensor) },
      {
        inputs: of([3, 2], [4, 3]),
        build: (a, b) => g.matmul(a as Tensor, b as Tensor, { transposeA: true, transposeB: true, alpha: 0.3 }),
      },
      { inputs: of([5, 2, 3], [5, 4, 3]), build: (a, b) => g.matmul(a as Tensor, b as Tensor, { transposeB: true }) },
      { inputs: of([5, 3, 2], [3, 4]), build: (a, b) => g.matmul(a as Tensor, b as Tensor, { transposeA: true }) },
      { inputs: of([2, 1, 3, 4], [5, 4, 1]), build: (a, b) => g.matmul(a as Tensor, b as Tensor) },
      { inputs: of([0, 3], [3, 2]), build: (a, b) => g.matmul(a as Tensor, b as Tensor) },
      { inputs: of([2, 0], [0, 2]), build: (a, b) => g.matmul(a as Tensor, b as Tensor) },
    ],
    gather: [
      { inputs: of([4, 3]), build: (x) => g.gather(x as Tensor, ints([2, 0, 2, 2])) },
      { inputs: of([4]), build: (x) => g.gather(x as Tensor, ints([3, 3, 1, 0], [2, 2])) },
      { inputs: of([4, 3]), build: (x) => g.gather(x as Tensor, ints([])) },
    ],
    'scatter-add': [
      { inputs: of([4, 3]), build: (x) => g.scatterAdd(x as Tensor, ints([2, 0, 2, 2]), 5) },
      { inputs: of([2, 2]), build: (x) => g.scatterAdd(x as Tensor, ints([1, 1, 0, 2], [2, 2]), 3) },
    ],
    'take-along': [
      { inputs: of([2, 4]), build: (x) => g.takeAlong(x as Tensor, ints([3, 3, 1, 0], [2, 2]), 1) },
      { inputs: of([3, 2]), build: (x) => g.takeAlong(x as Tensor, ints([2, 0], [1, 2]), 0) },
    ],
    'scatter-along': [
      { inputs: of([2, 2]), build: (x) => g.scatterAlong(x as Tensor, ints([3, 3, 1, 0], [2, 2]), 1, 4) },
    ],
    'top-k': one((x) => g.topK(x, 2)[0], of, [[3, 4], [2], [2, 2, 5]]),
    'cumulative-sum': [
      ...one((x) => g.cumulativeSum(x, 0)),
      ...one((x) => g.cumulativeSum(x, -1, { exclusive: true }), of, [[2, 3], [1]]),
      ...one((x) => g.cumulativeSum(x, -1, { exclusive: true, reverse: true }), of, [[2, 3]]),
    ],
    softmax: one(g.softmax, of, [[2, 3], [4], [3, 1], [0, 3]]),
    'log-softmax': one(g.logSoftmax, of, [[2, 3], [4], [3, 1], [0, 3]]),
    'log-sum-exp': one(g.logSumExp, of, [[2, 3], [4], [3, 1]]),
    'rms-norm': [
      { inputs: of([3, 4], [4]), build: (x, w) => g.rmsNorm(x as Tensor, w as Tensor, 1e-5) },
      { inputs: of([2, 1], [1]), build: (x, w) => g.rmsNorm(x as Tensor, w as Tensor, 0.1) },
    ],
    'layer-norm': [
      { inputs: of([3, 4], [4], [4]), build: (x, w, b) => g.layerNorm(x as Tensor, w as Tensor, b as Tensor, 1e-5) },
      { inputs: of([2, 1], [1], [1]), build: (x, w, b) => g.layerNorm(x as Tensor, w as Tensor, b as Tensor, 0.1) },
    ],
    rotate: [
      {
        inputs: of([2, 1, 3, 4]),
        build: (x) => {
          const table = (f: (angle: number) => number) =>
            g.constant(
              Array.from({ length: 6 }, (_, i) => f(i / 2)),
              dtype,
              [3, 2],
            )
          return g.rotate(x as Tensor, table(Math.cos), table(Math.sin))
        },
      },
    ],
    'causal-attention': [
      {
        inputs: of([2, 2, 3, 4], [2, 2, 3, 4], [2, 2, 3, 4]),
        build: (q, k, v) => g.causalAttention(q as Tensor, k as Tensor, v as Tensor, 0.5),
      },
      {
        inputs: of([1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]),
        build: (q, k, v) => g.causalAttention(q as Tensor, k as Tensor, v as Tensor, 1),
      },
      // Two heads of queries for each head of keys and values, with and without first positions.
      {
        inputs: of([2, 4, 3, 2], [2, 2, 3, 2], [2, 2, 3, 2]),
        build: (q, k, v) => g.causalAttention(q as Tensor, k as Tensor, v as Tensor, 0.7),
      },
      {
        inputs: of([1, 3, 4, 2], [1, 1, 4, 2], [1, 1, 4, 2]),
        build: (q, k, v) => g.causalAttention(q as Tensor, k as Tensor, v as Tensor, 0.7, ints([0, 0, 1, 2])),
      },
      // New documents begin at the last position of the first sequence, and at positions 1 and 2 of the second.
      {
        inputs: of([2, 2, 3, 4], [2, 2, 3, 4], [2, 2, 3, 4]),
        build: (q, k, v) => g.causalAttention(q as Tensor, k as Tensor, v as Tensor, 0.5, ints([0, 0, 2, 0, 1, 2])),
      },
      // Two queries after three earlier positions, of which the first is hidden from both.
      {
        inputs: of([1, 4, 2, 2], [1, 2, 5, 2], [1, 2, 5, 2]),
        build: (q, k, v) => g.causalAttention(q as Tensor, k as Tensor, v as Tensor, 0.7, ints([1, 1])),
      },
    ],
    'linear-cross-entropy': [
      {
        inputs: of([4, 3], [5, 3]),
        build: (x, w) => g.linearCrossEntropy(x as Tensor, w as Tensor, ints([1, 4, 0, 4])),
      },
      {
        inputs: of([4, 3], [5, 3]),
        build: (x, w) => g.linearCrossEntropy(x as Tensor, w as Tensor, ints([1, -1, 0, -1])),
      },
      { inputs: of([2, 3], [5, 3]), build: (x, w) => g.linearCrossEntropy(x as Tensor, w as Tensor, ints([-1, -1])) },
      {
        inputs: of([4, 3], [5, 3]),
        build: (x, w) => g.linearCrossEntropies(x as Tensor, w as Tensor, ints([1, -1, 0, 4])).slice(0, 2),
      },
      {
        inputs: of([4, 3], [5, 3]),
        build: (x, w) => g.linearCrossEntropies(x as Tensor, w as Tensor, ints([1, -1, 0, 4]))[1],
      },
    ],
    dispatch: [
      // Only occupied slots may be read: an empty slot has the row of an arbitrary token.
      {
        inputs: of([3, 2]),
        build: (x) => g.multiply(g.dispatch(x as Tensor, slots), g.reshape(slots.occupied as Tensor, [5, 1])),
      },
      { inputs: of([3, 2]), build: (x) => g.dispatch(x as Tensor, dense) },
    ],
    combine: [
      { inputs: of([5, 2], [3, 2]), build: (rows, gate) => g.combine(rows as Tensor, gate as Tensor, slots) },
      { inputs: of([3, 2], [3, 1]), build: (rows, gate) => g.combine(rows as Tensor, gate as Tensor, dense) },
    ],
    // xᵀ·x of ragged rows has a known shape.
    'dispatch-ragged': [
      { inputs: of([3, 2]), build: (x) => g.dispatchRagged(x as Tensor, ragged).map(gram) },
      // Nothing depends on the rows of the other experts.
      { inputs: of([3, 2]), build: (x) => gram(g.dispatchRagged(x as Tensor, ragged)[0] as Tensor) },
    ],
    'sum-sources': [
      { inputs: of([1, 4, 2, 3]), build: (x) => sumSources(x as Tensor) },
      { inputs: of([2, 3, 2]), build: (x) => sumSources(x as Tensor) },
    ],
    'combine-ragged': [
      {
        inputs: of([3, 2], [3, 2]),
        build: (x, gate) =>
          g.combineRagged(
            g.dispatchRagged(x as Tensor, ragged).map((piece, e) => g.multiply(piece, e + 1)),
            gate as Tensor,
            ragged,
          ),
      },
    ],
  }
}
