/** @slow */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { type Prediction, Predictor } from '../cost/predict.ts'
import { devicesOf, type Layout } from '../inputs/layout.ts'
import { loadCluster, loadPlannedRun } from '../inputs/load-plan.ts'
import { idealCluster, type RunInput, realCluster, runOf, sparseRun } from '../testing/cases.ts'
import { balancedLoads } from '../work/load.ts'
import { divisors, lackingBytes, layoutsOf, paretoFront, rank } from './search.ts'

const runs = fc.record({
  experts: fc.constantFrom(4, 6, 8, 16),
  layers: fc.constantFrom(1, 2, 4, 6),
  heads: fc.constantFrom(2, 4, 8),
  batch: fc.constantFrom(8, 24, 64),
  devices: fc.constantFrom(1, 2, 4, 8, 16, 24),
  offload: fc.constantFrom('none' as const, null),
  attention: fc.constantFrom('fused' as const, 'materialized' as const),
})

function runAnd({
  experts,
  layers,
  heads,
  batch,
  devices,
  ...plan
}: typeof runs extends fc.Arbitrary<infer T> ? T : never) {
  return { run: sparseRun({ experts }, plan, { layers, heads }, { batch }), cluster: realCluster(devices) }
}

const legal = (run: ReturnType<typeof sparseRun>, cluster: ReturnType<typeof realCluster>) => {
  try {
    return layoutsOf(run, cluster)
  } catch (error) {
    if (error instanceof UsageError) return []
    throw error
  }
}

describe('a layout', () => {
  test('uses all devices, divides batch, experts, heads and widths, and has at least one layer in a stage', () => {
    fc.assert(
      fc.property(runs, (each) => {
        const { run, cluster } = runAnd(each)
        const { model, train } = run
        for (const layout of legal(run, cluster)) {
          const { data, expert, tensor, pipeline, microBatches, zero, offload } = layout
          expect(devicesOf(layout)).toBe(cluster.devices)
          expect(pipeline).toBeLessThanOrEqual(model.layers)
          const sizes = [train.batch / data / microBatches, data / expert]
          sizes.push((model.moe?.experts ?? 0) / expert, model.heads / tensor, (model.moe?.hidden ?? 0) / tensor)
          expect(sizes.every(Number.isInteger)).toBe(true)
          if (data === 1) expect(zero).toBe(0)
          if (run.plan.offload === 'none') expect(offload).toBe('none')
        }
      }),
      { numRuns: 40 },
    )
  })

  test('is listed once', () => {
    const layouts = layoutsOf(sparseRun({}, { offload: null }), realCluster(16))
    expect(new Set(layouts.map((each) => JSON.stringify(each))).size).toBe(layouts.length)
    expect(layouts.length).toBeGreaterThan(100)
  })

  test('keeps the settings that the plan fixes', () => {
    const fixed = { zero: 1, recompute: 'full' as const, microBatches: 2, offload: 'optimizer' as const }
    const parallel = { data: 4, expert: 2, tensor: 2, pipeline: 1 }
    expect(layoutsOf(sparseRun({}, { ...fixed, parallel }), realCluster(8))).toEqual([
      { ...parallel, ...fixed, context: 1, expertTensor: 2, virtualStages: 1 },
    ])
  })

  test('with interleaved stages has whole parts, and micro-batches in rounds', () => {
    const found = layoutsOf(sparseRun({}, { virtualStages: 2 }, { layers: 8 }), realCluster(8))
    // Divisors of the devices are 1, 2, 4 and 8. One stage is no pipeline; eight stages of two parts need sixteen
    // layers.
    expect(new Set(found.map(({ pipeline }) => pipeline))).toEqual(new Set([2, 4]))
    expect(found.every(({ pipeline, microBatches }) => microBatches % pipeline === 0)).toBe(true)
    const all = layoutsOf(sparseRun({}, {}, { layers: 8 }), realCluster(8))
    expect(new Set(all.map(({ pipeline }) => pipeline))).toEqual(new Set([1, 2, 4, 8]))
  })

  test('has stages of unequal length where the layers do not divide', () => {
    const found = layoutsOf(sparseRun({}, {}, { layers: 7 }), realCluster(8))
    expect(new Set(found.map(({ pipeline }) => pipeline))).toEqual(new Set([1, 2, 4]))
  })

  test('with whole experts distributes them over tensor-parallel ranks too', () => {
    const parallel = { data: 2, tensor: 4, pipeline: 1, expertTensor: 1 as const }
    const found = layoutsOf(sparseRun({}, { parallel }), realCluster(8))
    expect(Math.max(...found.map(({ expert }) => expert))).toBe(8)
    const divided = layoutsOf(sparseRun({}, { parallel: { ...parallel, expertTensor: 'tensor' } }), realCluster(8))
    expect(Math.max(...divided.map(({ expert }) => expert))).toBe(2)
  })

  test('of a search over virtual stages has equal parts, in rounds of micro-batches', () => {
    const found = layoutsOf(sparseRun({}, { virtualStages: null }, { layers: 12 }), realCluster(8))
    const parts = found.map(({ pipeline, virtualStages }) => `${pipeline} ${virtualStages}`)
    // 12 layers in stages of 1, 2, 4 and, with unequal stages, 8.
    expect(new Set(parts)).toEqual(new Set(['1 1', '2 1', '2 2', '2 3', '2 6', '4 1', '4 3', '8 1']))
    for (const { pipeline, virtualStages, microBatches } of found)
      if (virtualStages > 1) expect(microBatches % pipeline).toBe(0)
  })

  test('of a search over context parallelism has two blocks of a sequence for each device', () => {
    const run = sparseRun({}, { parallel: { context: null } }, { sequence: 8 })
    const found = layoutsOf(run, realCluster(8))
    // 8 tokens are 2 · 4 blocks; 8 devices would need 16.
    expect(new Set(found.map(({ context }) => context))).toEqual(new Set([1, 2, 4]))
    for (const { data, context, tensor, pipeline } of found) expect(data * context * tensor * pipeline).toBe(8)
    const chunked = sparseRun({}, { parallel: { context: null }, crossEntropy: { chunks: 4 } }, { sequence: 8 })
    expect(Math.max(...layoutsOf(chunked, realCluster(8)).map(({ context }) => context))).toBe(2)
  })

  test('of a search over the division of experts divides them where their width allows it', () => {
    const sizes = (hidden: number) => {
      const run = sparseRun({ hidden, every: 1 }, { parallel: { expertTensor: null } })
      return new Set(layoutsOf(run, realCluster(8)).map(({ tensor, expertTensor }) => `${tensor} ${expertTensor}`))
    }
    expect([...sizes(128)].filter((each) => each.startsWith('4')).sort()).toEqual(['4 1', '4 4'])
    expect([...sizes(126)].filter((each) => each.startsWith('4'))).toEqual(['4 1'])
    expect([...sizes(126)].filter((each) => each.startsWith('1'))).toEqual(['1 1'])
  })

  test('of a search contains each layout of the same search with a fixed value, and no other', () => {
    const wide = { virtualStages: null, parallel: { context: null, expertTensor: null } }
    const all = layoutsOf(sparseRun({}, wide, { layers: 8 }), realCluster(8))
    const names = (layouts: readonly Layout[]) => layouts.map((layout) => JSON.stringify(layout)).sort()
    const fixed = [1, 2, 4, 8].flatMap((context) =>
      [1, 2, 4].flatMap((virtualStages) =>
        ([1, 'tensor'] as const).flatMap((expertTensor) => {
          const plan = { virtualStages, parallel: { context, expertTensor } }
          try {
            return layoutsOf(sparseRun({}, plan, { layers: 8 }), realCluster(8))
          } catch (error) {
            if (error instanceof UsageError) return []
            throw error
          }
        }),
      ),
    )
    expect(names(all)).toEqual([...new Set(names(fixed))].sort())
  })

  // Training refuses other micro-batches.
  test('cuts every micro-batch into whole groups of tokens', () => {
    const layouts = layoutsOf(sparseRun({ groups: 3 }, {}, {}, { batch: 48 }), realCluster(16))
    const tokens = layouts.map(({ data, microBatches }) => (48 / data / microBatches) * 32)
    expect(tokens.filter((each) => each % 3 !== 0)).toEqual([])
  })

  test('of a dense model has no expert parallelism', () => {
    const run = runOf({ model: { moe: null }, train: { batch: 8 } })
    expect(layoutsOf(run, realCluster(8)).every(({ expert }) => expert === 1)).toBe(true)
  })
})

describe('a search', () => {
  // Three of eleven times of a stage are waits; with two parts of a stage one and a half of nine and a half.
  test('finds that virtual stages shorten the wait of a pipeline from 3/8 to 3/16 of the computation', () => {
    const model = { layers: 8, width: 1024, heads: 8, sequence: 256, hidden: 4096, vocabulary: 258, moe: null }
    const parallel = { data: 1, tensor: 1, pipeline: 4 }
    const of = (virtualStages: number | null) => {
      const plan = { virtualStages, parallel, microBatches: 8, recompute: 'none' as const }
      const run = runOf({ model, train: { batch: 8 }, plan })
      const cluster = idealCluster(4)
      const node = { ...cluster.links.node, bandwidth: 1e30, latency: 0 }
      const [best] = rank(run, { ...cluster, links: { ...cluster.links, node } }).fitting
      return best ?? expect.unreachable()
    }
    const [searched, single] = [of(null), of(1)]
    expect(searched.layout.virtualStages).toBe(2)
    expect(searched.time.stepSeconds).toBe(of(2).time.stepSeconds)
    const pipelined = ({ time: { stepSeconds, parts } }: Prediction) => stepSeconds - parts.optimizer
    expect(pipelined(searched) / pipelined(single)).toBeCloseTo(9.5 / 11, 2)
  })

  test('takes context parallelism where a sequence is too long for a device, and whole experts where links are slow', () => {
    const long = { layers: 2, width: 1024, heads: 8, sequence: 65536, hidden: 4096, vocabulary: 258, moe: null }
    const found = (plan: RunInput['plan'], run: Omit<RunInput, 'plan'>, cluster = realCluster(8)) =>
      rank(runOf({ ...run, plan }), cluster).fitting
    const one = { train: { batch: 1 }, model: long }
    const fixed = { tensor: 1, pipeline: 1 }
    // A single sequence on eight devices: without context parallelism there is no layout.
    expect(() => found({ parallel: fixed }, one)).toThrow(/no layout/)
    expect(found({ parallel: { ...fixed, context: null } }, one)[0]?.layout).toMatchObject({ data: 1, context: 8 })
    const sparse = sparseRun({ hidden: 64 }, { parallel: { tensor: 4, expertTensor: null } })
    const [best] = rank(sparse, realCluster(8)).fitting
    const times = ([1, 'tensor'] as const).map((expertTensor) => {
      const [each] = rank(sparseRun({ hidden: 64 }, { parallel: { tensor: 4, expertTensor } }), realCluster(8)).fitting
      return each?.time.stepSeconds ?? Number.POSITIVE_INFINITY
    })
    expect(best?.time.stepSeconds).toBeCloseTo(Math.min(...times), 12)
  })

  test('ranks every legal layout: fitting ones by time, the others by the memory that they lack', () => {
    const cluster = { ...realCluster(8), device: { ...realCluster(8).device, memory: 1.62e9 } }
    const run = sparseRun({}, {}, { layers: 4 })
    const { fitting, rejected } = rank(run, cluster)
    expect(fitting.length).toBeGreaterThan(0)
    expect(rejected.length).toBeGreaterThan(0)
    expect(fitting.length + rejected.length).toBe(layoutsOf(run, cluster).length)
    expect(fitting.every((each) => each.memory.deviceBytes <= cluster.device.memory)).toBe(true)
    expect(rejected.every((each) => each.memory.deviceBytes > cluster.device.memory)).toBe(true)
    const lacking = rejected.map((each) => lackingBytes(cluster, each))
    expect(lacking).toEqual([...lacking].sort((a, b) => a - b))
  })

  test('finds the fastest layout, or one that is slower by less than a thousandth', () => {
    fc.assert(
      fc.property(runs, (each) => {
        const { run, cluster } = runAnd(each)
        const layouts = legal(run, cluster)
        fc.pre(layouts.length > 0)
        const [best] = rank(run, cluster).fitting
        const predictor = new Predictor(run, cluster, balancedLoads(run.model))
        const min = Math.min(...layouts.map((layout) => predictor.predict(layout).time.stepSeconds))
        expect(best?.time.stepSeconds ?? Number.NaN).toBeGreaterThanOrEqual(min)
        expect(best?.time.stepSeconds ?? Number.NaN).toBeLessThan(min * 1.002)
      }),
      { numRuns: 30 },
    )
  })

  test('prefers the simplest of equally fast layouts', () => {
    const offloads = ['none', 'optimizer', 'all']
    const recomputes: readonly Layout['recompute'][] = ['none', 'selective', 'full']
    const savings = ({ layout: { offload, recompute, zero, microBatches } }: Prediction) => [
      offloads.indexOf(offload),
      recomputes.indexOf(recompute),
      zero,
      microBatches,
    ]
    /** Negative if `a` does less to save memory. */
    const compared = (a: Prediction, b: Prediction) => {
      const [one, other] = [savings(a), savings(b)]
      return one.map((each, i) => each - (other[i] ?? 0)).find((difference) => difference !== 0) ?? 0
    }
    fc.assert(
      fc.property(runs, (each) => {
        const { run, cluster } = runAnd(each)
        fc.pre(legal(run, cluster).length > 0)
        const [best, ...others] = rank(run, cluster).fitting
        if (!best) return
        for (const other of others)
          if (other.time.stepSeconds <= best.time.stepSeconds) expect(compared(best, other)).toBeLessThanOrEqual(0)
      }),
      { numRuns: 30 },
    )
  })

  test('recomputes only if that is faster than the same layout without recomputation', async () => {
    const { fitting } = rank(await loadPlannedRun('m6t-base', ['plan.parallel.expert=8']), await loadCluster('v100-16'))
    const [best] = fitting
    const apartFromRecompute = ({ layout }: Prediction) => JSON.stringify({ ...layout, recompute: 'none' })
    const plain = fitting.find(
      (each) =>
        best &&
        each !== best &&
        apartFromRecompute(each) === apartFromRecompute(best) &&
        each.layout.recompute === 'none',
    )
    expect(plain?.time.stepSeconds ?? Number.POSITIVE_INFINITY).toBeGreaterThan(best?.time.stepSeconds ?? 0)
  })

  test('rejects layouts whose host lacks memory for offloaded state', () => {
    const cluster = realCluster(8)
    const small = { ...cluster, device: { ...cluster.device, hostMemory: 1000 } }
    const run = sparseRun({}, { offload: 'optimizer' })
    expect(rank(run, cluster).fitting.length).toBeGreaterThan(0)
    expect(rank(run, small).fitting).toEqual([])
  })
})

const dominates = (a: Prediction, b: Prediction) =>
  a.time.stepSeconds <= b.time.stepSeconds &&
  a.memory.deviceBytes <= b.memory.deviceBytes &&
  (a.time.stepSeconds < b.time.stepSeconds || a.memory.deviceBytes < b.memory.deviceBytes)

describe('the Pareto front of time and memory', () => {
  const { fitting } = rank(sparseRun({}, { offload: null }, { layers: 4 }), realCluster(16))
  const front = paretoFront(fitting)

  test('has the fastest and the smallest layout that fits', () => {
    const min = Math.min(...fitting.map(({ memory }) => memory.deviceBytes))
    expect(front.at(-1)?.memory.deviceBytes).toBe(min)
    // The first fitting layout may be simpler, and slower by less than a thousandth.
    expect(front[0]?.time.stepSeconds).toBe(Math.min(...fitting.map(({ time }) => time.stepSeconds)))
  })

  test('has decreasing memory', () => {
    const memory = front.map(({ memory: { deviceBytes } }) => deviceBytes)
    expect(memory).toEqual([...new Set(memory)].sort((a, b) => b - a))
  })

  test('does not depend on the order of the layouts', () => {
    // Of layouts with equal time and memory, any one may be in the front.
    const points = (each: readonly Prediction[]) =>
      each.map(({ time, memory }) => [time.stepSeconds, memory.deviceBytes])
    expect(points(paretoFront([...fitting].reverse()))).toEqual(points(front))
  })

  test('has no layout that another one beats in time and memory', () => {
    fc.assert(
      fc.property(runs, (each) => {
        const { run, cluster } = runAnd(each)
        fc.pre(legal(run, cluster).length > 0)
        const all = rank(run, cluster).fitting
        for (const one of paretoFront(all)) expect(all.filter((other) => dominates(other, one))).toEqual([])
      }),
      { numRuns: 30 },
    )
  })
})

describe('an impossible layout is refused, with the field and the number that it must divide', () => {
  const refused = (plan: RunInput['plan'], model: RunInput['model'], devices: number, batch = 64) => {
    try {
      layoutsOf(sparseRun({}, plan, model, { batch }), realCluster(devices))
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError)
      return (error as Error).message
    }
    return ''
  }

  test.each<[RunInput['plan'], RunInput['model'], string]>([
    [{ parallel: { expert: 3 } }, {}, 'invalid plan.parallel.expert: 3 (must divide model.moe.experts 8)'],
    [{ parallel: { tensor: 3 } }, {}, 'invalid plan.parallel.tensor: 3 (must divide model.heads 8'],
    [{ parallel: { tensor: 8 } }, { heads: 4 }, 'invalid plan.parallel.tensor: 8 (must divide model.heads 4'],
    [{ parallel: { pipeline: 4 } }, { layers: 3 }, 'invalid plan.parallel.pipeline: 4 (must be at most model.layers 3'],
    [
      { parallel: { pipeline: 3 } },
      { layers: 6 },
      `invalid plan.parallel.pipeline: 3 (must divide the cluster's devices 8)`,
    ],
    [{ parallel: { data: 5 } }, {}, 'invalid plan.parallel.data: 5 (must divide train.batch 64)'],
    [{ parallel: { expert: 2 } }, { moe: null }, 'invalid plan.parallel.expert: 2 (the model has no experts)'],
    [{ virtualStages: 3, parallel: { pipeline: 2 } }, {}, 'invalid plan.virtualStages: 3 ('],
    [
      { virtualStages: 2, parallel: { pipeline: 4 } },
      { layers: 6 },
      'times virtualStages 2 must be at most model.layers 6',
    ],
    [
      { virtualStages: 2, parallel: { pipeline: 1 } },
      {},
      'invalid plan.virtualStages: 2 (needs more than one pipeline',
    ],
    [{ virtualStages: 2, parallel: { pipeline: 4 }, microBatches: 2 }, { layers: 8 }, 'no layout of'],
    [
      { precision: 'tf32' },
      {},
      'invalid plan.precision: tf32 (device has float32, float16, bfloat16, float8; set plan.precision=',
    ],
    [{ parallel: { context: 3 } }, {}, `invalid plan.parallel.context: 3 (must divide the cluster's devices 8)`],
    [{ dispatch: 'one-hot' }, { moe: { capacity: 'none' } }, 'invalid plan.dispatch: one-hot (needs a capacity'],
    [
      { load: { run: 'runs/demo', cv: 0.5 } },
      {},
      'invalid plan.load.cv: 0.5 (plan.load.run sets the loads; use one of the two)',
    ],
  ])('case %#: %j', (plan, model, message) => {
    expect(refused(plan, model, 8)).toContain(message)
  })

  test('if it has several problems, which are counted and all listed', () => {
    const message = refused({ precision: 'tf32', parallel: { expert: 3, data: 5 } }, {}, 8)
    // Five divides neither the batch of 64 nor eight devices.
    expect(message).toMatch(/^4 problems in the plan\n/)
    for (const field of ['precision: tf32', 'parallel.expert: 3', 'parallel.data: 5'])
      expect(message).toContain(`invalid plan.${field}`)
  })

  // The message must name the field that the user set, not virtualStages 1, its default.
  test('if it has more stages than layers, by the field that was set', () => {
    expect(refused({ parallel: { pipeline: 4 } }, { layers: 2 }, 8)).toContain('invalid plan.parallel.pipeline: 4')
  })
  test('if it has more parts than layers, by the field that was set', () => {
    expect(refused({ virtualStages: 3 }, { layers: 2 }, 8)).toContain('virtualStages')
  })

  test('if the expert-parallel size does not divide the data-parallel size', () => {
    expect(refused({ parallel: { expert: 8, data: 4 } }, {}, 4)).toContain('expert must divide data')
  })

  test('if no number of data-parallel ranks divides the batch', () => {
    const message = refused({ parallel: { tensor: 1, pipeline: 1 } }, {}, 8, 3)
    expect(message).toContain('data must divide train.batch 3')
    expect(message).toContain('set train.batch to a multiple of the devices')
  })

  test('if it offloads without a link to the host', () => {
    const { host: _, ...links } = realCluster(8).links
    const hostless = { ...realCluster(8), links }
    expect(() => layoutsOf(sparseRun({}, { offload: 'all' }), hostless)).toThrow('the cluster has no links.host')
    expect(layoutsOf(sparseRun({}, { offload: null }), hostless).every(({ offload }) => offload === 'none')).toBe(true)
  })
})

test('every published size fits on the devices of the paper', async () => {
  for (const [name, cluster] of [
    ['m6t-base', 'v100-8'],
    ['m6t-10b', 'v100-16'],
    ['m6t-100b', 'v100-128'],
    ['m6t-1t', 'v100-480'],
    ['m6-10t', 'v100-512'],
  ] as const)
    expect(rank(await loadPlannedRun(name, []), await loadCluster(cluster)).fitting.length, name).toBeGreaterThan(0)
})

test('divisors are complete and ascending', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), (n) => {
      expect(divisors(n)).toEqual(Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0))
    }),
  )
})
