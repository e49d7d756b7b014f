import { describe, expect, test } from 'vitest'
import { clusterSchema } from '../inputs/cluster.ts'
import { rank } from '../search/search.ts'
import { idealCluster, idealInput, layoutOf, predict, type RunInput, runOf } from '../testing/cases.ts'

const [D, V, T] = [64, 512, 16 * 32]

const run = (crossEntropy: NonNullable<RunInput['plan']>['crossEntropy'], plan: RunInput['plan'] = {}) =>
  runOf({
    model: { layers: 1, width: D, heads: 8, sequence: 32, hidden: 256, vocabulary: V, moe: null },
    train: { batch: 16 },
    plan: { crossEntropy, ...plan },
  })

describe('logits', () => {
  const of = (crossEntropy: Parameters<typeof run>[0], plan: RunInput['plan'] = {}, layout = layoutOf()) =>
    predict(run(crossEntropy, plan), idealCluster(8), layout).memory.device.logits

  test.each<[Parameters<typeof run>[0], RunInput['plan'], number]>([
    // 16 bits, and float32 of logits and gradient.
    [{}, {}, 2 + 4 + 4],
    [{}, { precision: 'float32' }, 4 + 4],
    [{ fused: true }, {}, 2],
    [{ fused: true }, { precision: 'float32' }, 4],
    [{ chunks: 8 }, {}, 10 / 8],
    [{ fused: true, chunks: 8 }, {}, 2 / 8],
  ])('with %j and %j take %d bytes for each token and word', (crossEntropy, plan, bytes) => {
    expect(of(crossEntropy, plan)).toBe(bytes * T * V)
  })

  test('are divided over tensor-parallel ranks and micro-batches', () => {
    const layout = layoutOf({ tensor: 4, microBatches: 2 })
    expect(of({ fused: true, chunks: 2 }, {}, layout)).toBe((2 * T * V) / 4 / 2 / 2)
  })
})

test('chunks keep the gradient of the head’s input, in the precision of activations', () => {
  const of = (chunks: number) =>
    predict(run({ chunks }), idealCluster(1), layoutOf()).memory.device['dense activations']
  expect(of(8) - of(1)).toBe(2 * T * D)
})

describe('the time of the head', () => {
  const input = idealInput(1)
  const seconds = (device: typeof input.device, crossEntropy: Parameters<typeof run>[0]) =>
    predict(run(crossEntropy), clusterSchema.parse({ ...input, device }), layoutOf()).time.parts.head

  test('of products alone does not depend on chunks: three products of T rows', () => {
    const device = { ...input.device, bandwidth: '1e30 B/s' }
    expect(seconds(device, { chunks: 8 })).toBeCloseTo((3 * 2 * T * D * V) / 1e14, 15)
  })

  test('of passes alone is three passes over 16-bit logits, if fused', () => {
    const device = { ...input.device, peak: { float32: '1 TFLOP/s', bfloat16: '1e12 TFLOP/s' } }
    const of = (crossEntropy: Parameters<typeof run>[0]) => seconds(device, crossEntropy)
    const plain = 2 * T * V * (2 + 3 * 4)
    expect(of({}) - of({ fused: true })).toBeCloseTo((plain - 3 * 2 * T * V) / 1e12, 15)
    // Each further chunk reads the weight for both products that need it, and adds to a gradient of float32.
    expect(of({ chunks: 3 }) - of({})).toBeCloseTo((2 * (2 * 2 * V * D + 2 * V * D + 2 * 4 * V * D)) / 1e12, 15)
  })
})

test('more chunks than a device has tokens of a sequence are refused', () => {
  const plan = { parallel: { context: 2, tensor: 1, pipeline: 1 }, crossEntropy: { chunks: 17 } }
  expect(() => rank(run({}, plan), idealCluster(8))).toThrow(
    'invalid plan.crossEntropy.chunks: 17 (must be at most 16, the tokens of a sequence on a device)',
  )
})
