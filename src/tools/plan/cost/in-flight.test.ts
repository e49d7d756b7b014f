import { describe, expect, test } from 'vitest'
import { idealCluster, layoutOf, predict, runOf } from '../testing/cases.ts'
import { microBatchesInFlight } from './memory.ts'

interface Pass {
  readonly kind: 'forward' | 'backward'
  readonly microBatch: number
  /** The part of the rank's stage, in the order of the model. */
  readonly part: number
}

/**
 * The passes of rank r in the order of Megatron-LM's interleaved schedule: micro-batches go through a part in rounds of
 * p; after the warm-up, forward and backward passes alternate.
 */
function passesOf(p: number, v: number, m: number, r: number): Pass[] {
  const pass = (kind: Pass['kind'], i: number): Pass => {
    const inRound = i % (p * v)
    const part = Math.floor(inRound / p)
    const microBatch = Math.floor(i / (p * v)) * p + (inRound % p)
    return { kind, microBatch, part: kind === 'forward' ? part : v - 1 - part }
  }
  const all = m * v
  const warmUp = Math.min(all, (p - r - 1) * 2 + (v - 1) * p)
  const passes = Array.from({ length: warmUp }, (_, i) => pass('forward', i))
  for (let i = 0; i < all; i++) {
    if (warmUp + i < all) passes.push(pass('forward', warmUp + i))
    passes.push(pass('backward', i))
  }
  return passes
}

/** Runs all ranks, each pass as soon as its input is there, and returns the most micro-batches that each rank keeps. */
function simulate(p: number, v: number, m: number): number[] {
  const name = (rank: number, { kind, microBatch, part }: Pass) => `${kind} ${microBatch} ${part} ${rank}`
  /** The pass whose result a pass needs, and its rank; undefined for the first part of a forward pass. */
  const before = (rank: number, { kind, microBatch, part }: Pass): string | undefined => {
    if (kind === 'forward') {
      if (rank > 0) return name(rank - 1, { kind, microBatch, part })
      return part > 0 ? name(p - 1, { kind, microBatch, part: part - 1 }) : undefined
    }
    if (rank < p - 1) return name(rank + 1, { kind, microBatch, part })
    return part < v - 1
      ? name(0, { kind, microBatch, part: part + 1 })
      : name(rank, { kind: 'forward', microBatch, part })
  }
  const queues = Array.from({ length: p }, (_, rank) => passesOf(p, v, m, rank))
  const done = new Set<string>()
  const kept = new Array<number>(p).fill(0)
  const most = new Array<number>(p).fill(0)
  while (queues.some(({ length }) => length > 0)) {
    const ready = queues.flatMap((queue, rank) => {
      const [next] = queue
      if (!next) return []
      const input = before(rank, next)
      return input === undefined || done.has(input) ? [{ rank, next }] : []
    })
    if (ready.length === 0) throw new Error('the schedule waits for itself')
    for (const { rank, next } of ready) {
      queues[rank]?.shift()
      done.add(name(rank, next))
      kept[rank] = (kept[rank] ?? 0) + (next.kind === 'forward' ? 1 : -1)
      most[rank] = Math.max(most[rank] ?? 0, kept[rank] ?? 0)
    }
  }
  return most.map((parts) => parts / v)
}

describe('micro-batches of an interleaved schedule', () => {
  test.each([
    [2, 2, 8],
    [4, 3, 8],
    [8, 4, 32],
    [8, 2, 8],
    [4, 6, 4],
  ])('of %d stages in %d parts are as many as a run of %d micro-batches keeps', (p, v, m) => {
    const counted = Array.from({ length: p }, (_, stage) =>
      microBatchesInFlight({ pipeline: p, virtualStages: v, microBatches: m }, stage),
    )
    expect(counted).toEqual(simulate(p, v, m))
  })

  // 2·(8 − 7 − 1) + 3·8 + 1 = 25 parts, each a quarter of the stage.
  test('are 6.25 on the last of 8 stages with 4 parts, and 9.75 on the first', () => {
    expect(microBatchesInFlight({ pipeline: 8, virtualStages: 4, microBatches: 64 }, 7)).toBe(6.25)
    expect(microBatchesInFlight({ pipeline: 8, virtualStages: 4, microBatches: 64 }, 0)).toBe(9.75)
  })

  test('are one for each later stage, and its own, without interleaving', () => {
    const of = (stage: number) => microBatchesInFlight({ pipeline: 8, virtualStages: 1, microBatches: 64 }, stage)
    expect([0, 3, 7].map(of)).toEqual([8, 5, 1])
  })
})

// The head of a wide vocabulary makes the last stage the largest.
test('the last stage keeps its activations for the micro-batches of the interleaved schedule', () => {
  const [p, v, layers] = [4, 4, 16]
  const [T, D, H] = [32, 64, 8]
  const run = runOf({
    model: { layers, width: D, heads: H, sequence: T, hidden: 256, vocabulary: 2 ** 20, moe: null },
    train: { batch: 32 },
    plan: { attention: 'fused' },
  })
  const { device } = predict(run, idealCluster(p), layoutOf({ pipeline: p, virtualStages: v, microBatches: 32 })).memory
  expect(device.logits).toBeGreaterThan(0)
  // A layer keeps in 16 bits: input and result of the norm, queries, keys, values and result, rotated queries and keys;
  // and a float32 for each head. The last rank keeps 0 + 3·4 + 1 = 13 parts of one layer each.
  const layer = 8 * T * D * 2 + 4 * H * T
  expect(device['attention activations']).toBeCloseTo(13 * layer, 6)
})
