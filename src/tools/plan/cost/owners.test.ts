import { describe, expect, test } from 'vitest'
import { sizeOf } from '../../../core/graph/shape.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { alone, heldSpecs, sharesOf } from '../../../train/step/store/placement.ts'
import { loadCluster, loadPlannedRun } from '../inputs/load-plan.ts'
import { plan } from '../plan.ts'
import { rank } from '../search/search.ts'
import { idealCluster, layoutOf, predict, type RunInput, runOf, sparseRun } from '../testing/cases.ts'
import { ownerLoad, ownerSeconds } from './owners.ts'

const dense = (plan: RunInput['plan'] = {}) =>
  runOf({
    model: { layers: 2, width: 64, heads: 8, sequence: 32, hidden: 128, vocabulary: 8192, moe: null, tied: true },
    train: { batch: 64 },
    plan: { exchange: 'owners', precision: 'float32', ...plan },
  })

describe('owners of whole matrices', () => {
  const embedding = 8192 * 64

  test('of two ranks, the owner of the embedding receives it from the other', () => {
    const load = ownerLoad(dense({ optimizer: 'adafactor' }), layoutOf({ data: 2, zero: 1 }), idealCluster(2))
    expect(load).toMatchObject({ received: embedding, rank: 0, senders: 1, fromNode: embedding })
  })

  test('of many ranks receive its sum from relays, and no rank receives far more than others', () => {
    const run = dense({ optimizer: 'adafactor' })
    const load = ownerLoad(run, layoutOf({ data: 16, zero: 1 }), idealCluster(16))
    const total = parameterSpecs(run.model).reduce((sum, { shape }) => sum + sizeOf(shape), 0)
    // 15 ranks send their gradients of an even share to each relay; the owner of the embedding also gets the others' sums.
    expect(load.rank).toBe(0)
    expect(load.received).toBeGreaterThan((15 / 16) * total)
    expect(load.received).toBeLessThan((15 / 16) * total + embedding)
    expect(load.imbalance).toBeCloseTo(embedding / (total / 16), 12)
  })

  test('of AdamW’s blocks are nearly even', () => {
    const run = dense({ optimizer: 'adamw' })
    const load = ownerLoad(run, layoutOf({ data: 2, zero: 1 }), idealCluster(2))
    expect(load.imbalance).toBeLessThan(1.05)
  })

  // An independent count: each rank's own shares, one rank after the other.
  test.each([1, 2, 4])('are the owners of training, with experts on %d ranks', (expert) => {
    const run = sparseRun({}, { exchange: 'owners', optimizer: 'adafactor' })
    const load = ownerLoad(run, layoutOf({ data: 8, expert, zero: 1 }), idealCluster(8))
    const specs = parameterSpecs(run.model)
    const received = Array.from({ length: 8 }, (_, rank) => {
      const place = { ...alone, rank, ranks: 8, expert, blockFloats: Number.POSITIVE_INFINITY }
      return sharesOf(heldSpecs(specs, place), place)
        .flatMap(({ parts, owner, holders }) => parts.map((part) => ({ ...part, owner, holders })))
        .reduce((sum, { floats, adder, owner, holders }) => {
          const added = adder === rank ? floats * (holders.length - 1) : 0
          return sum + added + (owner === rank && adder !== rank ? floats : 0)
        }, 0)
    })
    expect(load.received).toBe(Math.max(...received))
    expect(load.rank).toBe(received.indexOf(Math.max(...received)))
  })

  test('share the network of their node', () => {
    const cluster = idealCluster(16)
    const load = ownerLoad(dense({ optimizer: 'adafactor' }), layoutOf({ data: 16, zero: 1 }), cluster)
    // Nodes of eight have 400 GB/s together. The relays of each get their parts eight times from the other node.
    expect(load.acrossNodes).toBeGreaterThan(8 * (8192 * 64) * (7 / 16))
    expect(ownerSeconds(cluster, load, 4)).toBeCloseTo(
      Math.max((4 * load.fromNode) / 1e11, (4 * load.acrossNodes) / 4e11),
      15,
    )
  })
})

test('a step waits for the busiest owner, there and back', () => {
  const run = dense({ optimizer: 'adafactor', overlap: 0 })
  const layout = layoutOf({ data: 2, zero: 1 })
  const { parts, gradients } = predict(run, idealCluster(2), layout).time
  expect(gradients).toEqual({ bytes: 4 * 8192 * 64, rank: 0 })
  expect(parts['gradient exchange']).toBeCloseTo((4 * 8192 * 64) / 1e11, 15)
  expect(parts['weight gathering']).toBe(parts['gradient exchange'])
})

test('collectives give every rank (n − 1)/n of the gradients, twice if all get the sum', () => {
  const run = dense({ exchange: 'collectives' })
  const total = parameterSpecs(run.model).reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  const of = (zero: number) => predict(run, idealCluster(8), layoutOf({ data: 8, zero })).time.gradients
  expect(of(1).bytes).toBeCloseTo((7 / 8) * 4 * total, 6)
  expect(of(0).bytes).toBeCloseTo(2 * (7 / 8) * 4 * total, 6)
  expect(of(1).rank).toBeUndefined()
})

// Twice the gradients of a collective are 1.2 GB; the embedding alone from 479 ranks to one owner would be 41.5 GB.
test('in m6t-1t on 480 V100, no rank receives far more than others', async () => {
  const cluster = await loadCluster('v100-480')
  const { best, throughOwners } = await plan(await loadPlannedRun('m6t-1t', []), cluster)
  expect(throughOwners).toBeUndefined()
  const owned = await plan(
    await loadPlannedRun('m6t-1t', ['plan.exchange=owners', 'plan.zero=null', 'plan.parallel.expert=480']),
    cluster,
  )
  expect(owned.best[0]?.layout).toMatchObject({ data: 480, tensor: 1, pipeline: 1, zero: 1 })
  const received = (of: typeof owned) => of.best[0]?.time.gradients.bytes ?? 0
  expect(received(owned)).toBeLessThan(2 * received({ ...owned, best }))
})

test('a plan notes owners that receive far more than others', async () => {
  // Each of 128 ranks has one expert of the only layer. Of its sixteen copies one owns a matrix.
  const run = sparseRun(
    {},
    { parallel: { expert: 8, tensor: 1, pipeline: 1, context: 1 } },
    { layers: 1 },
    { batch: 256 },
  )
  const { best, throughOwners } = await plan(run, idealCluster(128))
  expect(throughOwners?.gradients.bytes).toBeGreaterThan(2 * (best[0]?.time.gradients.bytes ?? Number.NaN))
  const owned = await plan({ ...run, plan: { ...run.plan, exchange: 'owners' } }, idealCluster(128))
  expect(owned.best[0]?.time.gradients).toEqual(throughOwners?.gradients)
  expect(owned.throughOwners).toBeUndefined()
})

test('owners are refused with tensor parallelism, and with state that every rank has', () => {
  const attempt = (plan: RunInput['plan']) => () => rank(dense(plan), idealCluster(8))
  expect(attempt({ parallel: { tensor: 2 } })).toThrow('invalid plan.parallel.tensor: 2 (must be 1 with')
  expect(attempt({ zero: 0 })).toThrow('invalid plan.zero: 0 (must be 1 or null with plan.exchange=owners')
})
