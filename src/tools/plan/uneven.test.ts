import { describe, expect, test } from 'vitest'
import { plan } from './plan.ts'
import { idealCluster, sparseRun } from './testing/cases.ts'

const layout = {
  parallel: { expert: 8, data: 8, tensor: 1, pipeline: 1 },
  zero: 0,
  recompute: 'none',
  microBatches: 1,
} as const

describe('a plan without loads of its own', () => {
  const of = (load: { cv?: number; sampling?: boolean }, router: 'top-k' | 'expert-choice' = 'top-k') =>
    plan(sparseRun({ capacity: router === 'top-k' ? 'none' : 'kx', router }, { ...layout, load }), idealCluster(8))

  test('is of random routing: the busiest of eight ranks has more than the mean', async () => {
    const { best, load } = await of({})
    // 2,048 tokens choose among 8 experts: 256 ± 15 for one (√(2048·7/64)), and the most of eight is 1.42·√(8/7)
    // deviations above the mean.
    const expected = 1 + (1.4236 * Math.sqrt(8 / 7) * Math.sqrt(2048 * (7 / 64))) / 256
    expect(best[0]?.imbalance).toBeCloseTo(expected, 3)
    expect(load).toContain('vary by chance')
    const even = await of({ sampling: false })
    expect(even.best[0]?.imbalance).toBe(1)
    expect(even.load).toContain('balanced')
  })

  test('shows what a c_v of 0.2 and of 0.5 would cost in its best layout', async () => {
    const { uneven } = await of({})
    expect(uneven.map(({ cv }) => cv)).toEqual([0.2, 0.5])
    for (const { cv, stepSeconds, dropped, deviceBytes } of uneven) {
      const [best] = (await of({ cv })).best
      expect([stepSeconds, dropped, deviceBytes]).toEqual([
        best?.time.stepSeconds,
        best?.dropped,
        best?.memory.deviceBytes,
      ])
    }
    expect(uneven[1]?.stepSeconds).toBeGreaterThan(uneven[0]?.stepSeconds as number)
  })

  test('shows nothing of the kind if loads are given, or if experts choose', async () => {
    for (const each of [of({ cv: 0.3 }), of({ sampling: false }), of({}, 'expert-choice')])
      expect((await each).uneven).toEqual([])
  })
})

describe('a warning names a setting without which a step would take less than half as long', () => {
  const warnings = async (...[moe, over, model]: Parameters<typeof sparseRun>) =>
    (await plan(sparseRun(moe, { ...layout, ...over }, model), idealCluster(8))).warnings

  // A rank has 256 tokens. In groups of two, each of 8 experts has a slot for 2/8 of a token: four times the rows.
  test('groups that are smaller than the number of experts', async () => {
    const of = (groups: number) => warnings({ groups, priority: 'choice', factor: 1, compute: 'padded', hidden: 8192 })
    expect((await of(128)).join()).toMatch(
      /with model\.moe\.groups=128 a step takes [234]\.\d times as long as with model\.moe\.groups=1 \(75 %/,
    )
    expect((await of(4)).join()).not.toContain('groups')
  })

  // Every token of a rank is multiplied with every slot, 8,192 of them, where its expert has 2·64·8 products.
  test('one-hot dispatch to small experts', async () => {
    const of = (dispatch: 'one-hot' | 'gather') => warnings({ factor: 1, hidden: 8 }, { dispatch }, { sequence: 1024 })
    expect((await of('one-hot')).join()).toMatch(/with plan\.dispatch=one-hot a step takes \d+\.\d times as long/)
    expect((await of('gather')).join()).not.toContain('plan.dispatch')
  })

  test('padded experts with far more slots than tokens', async () => {
    const of = (compute: 'padded' | 'ragged') => warnings({ factor: 8, compute, hidden: 8192 })
    expect((await of('padded')).join()).toContain('with model.moe.compute=padded a step takes')
    expect(await of('ragged')).toEqual([])
  })
})
