/** @slow */
import { describe, expect, test } from 'vitest'
import { type Cluster, clusterSchema } from '../inputs/cluster.ts'
import { clusterFamilies } from '../inputs/clusters.ts'
import { loadCluster, loadPlannedRun } from '../inputs/load-plan.ts'
import { plan } from '../plan.ts'

/** Makes a cluster of a number of devices, validated like a user's. */
type MakeCluster = (devices: number) => Promise<Cluster> | Cluster

/** Applies a reported change and plans again. */
async function planWithChange(
  source: string,
  sets: readonly string[],
  devices: number,
  on: MakeCluster,
  change: string,
) {
  const [, more, batch] = /^(\d+) devices, (train\.batch=\d+)$/.exec(change) ?? []
  if (more && batch) return plan(await loadPlannedRun(source, [...sets, batch]), await on(Number(more)))
  return plan(await loadPlannedRun(source, [...sets, change]), await on(devices))
}

const v100 =
  (memory: string): MakeCluster =>
  (devices) => {
    const family = clusterFamilies.v100
    if (!family) throw new Error('no cluster family v100')
    return clusterSchema.parse({
      ...family.cluster,
      devices,
      device: { ...family.cluster.device, memory },
    })
  }

const cases: [string, string[], number, MakeCluster][] = [
  ['m6t-1t', ['plan.optimizer=adamw'], 480, (devices) => loadCluster(`v100-${devices}`)],
  ['m6t-100b', [], 128, v100('16 GB')],
  ['m6t-base', [], 8, v100('5 GB')],
  ['m6t-base', ['plan.recompute=none', 'plan.parallel.expert=2', 'plan.offload=optimizer'], 8, v100('7 GB')],
]

describe('a change that makes a run fit', () => {
  test.each(cases)(
    'has the reported memory and time when applied alone: %s %j on %d',
    async (source, sets, devices, on) => {
      const { best, changes } = await plan(await loadPlannedRun(source, sets), await on(devices))
      expect(best).toEqual([])
      expect(changes.length).toBeGreaterThan(0)
      for (const { change, best: reported } of changes) {
        const [found] = (await planWithChange(source, sets, devices, on, change)).best
        expect(found, change).toBeDefined()
        expect(found, change).toEqual(reported)
      }
    },
  )

  test('can free the layout and nothing else', async () => {
    const on = v100('4.6 GB')
    const { changes } = await plan(await loadPlannedRun('m6t-base', []), await on(8))
    const free = changes.find(({ change }) => change === 'plan.parallel={}')
    expect(free).toBeDefined()
    expect(free?.best.layout.zero).toBe(0)
    const [found] = (await planWithChange('m6t-base', [], 8, on, 'plan.parallel={}')).best
    expect(found).toEqual(free?.best)
  })

  // Twelve devices are one and a half nodes, so they are skipped.
  test('names the smallest number of devices that fits and fills nodes', async () => {
    const on = v100('12 GB')
    const sets = ['train.batch=48', 'plan.parallel={"tensor":1,"pipeline":1}', 'model.moe.experts=96', 'plan.zero=1']
    const { best, changes } = await plan(await loadPlannedRun('m6t-base', sets), await on(6))
    expect(best).toEqual([])
    expect(changes.map(({ change }) => change).filter((change) => change.includes('devices'))).toEqual([
      '24 devices, train.batch=192',
    ])
  })

  test('can be a 16-bit precision of the device, for a run in 32 bits', async () => {
    // These settings leave a single layout, whose memory is mostly activations.
    const sets = [
      'train.batch=512',
      'plan.parallel.expert=8',
      'plan.zero=0',
      'plan.recompute=none',
      'plan.microBatches=1',
    ]
    const need = async (precision: string) => {
      const run = await loadPlannedRun('m6t-base', [...sets, `plan.precision=${precision}`])
      return (await plan(run, await v100('1 TB')(8))).best[0]?.memory.deviceBytes ?? Number.NaN
    }
    const between = ((await need('float32')) + (await need('float16'))) / 2
    const { best, changes } = await plan(await loadPlannedRun('m6t-base', sets), await v100(`${between} B`)(8))
    expect(best).toEqual([])
    expect(changes.map(({ change }) => change).filter((change) => change.startsWith('plan.precision'))).toEqual([
      'plan.precision=float16',
    ])
  })

  test('is not reported if the run fits', async () => {
    const { best, changes, budget } = await plan(await loadPlannedRun('m6t-base', []), await loadCluster('v100-8'))
    expect(best.length).toBeGreaterThan(0)
    expect(changes).toEqual([])
    expect(budget).toBeDefined()
  })

  test('is not invented if nothing helps', async () => {
    const { best, changes, budget, rejected } = await plan(
      await loadPlannedRun('m6t-1t', []),
      await loadCluster('v100-8'),
    )
    expect(best).toEqual([])
    expect(changes.filter(({ change }) => !/offload|devices/.test(change))).toEqual([])
    expect(budget).toBeUndefined()
    expect(rejected.every(({ lackingBytes }) => lackingBytes > 0)).toBe(true)
  })
})

describe('a budget', () => {
  test('is tokens over tokens a second, times devices, times their price', async () => {
    const cluster = { ...(await loadCluster('a100-8')), pricePerDeviceHour: 2 }
    const { budget, best } = await plan(await loadPlannedRun('M', ['plan.tokens=1e12']), cluster)
    const seconds = 1e12 / (best[0]?.tokensPerSecond ?? Number.NaN)
    expect(budget?.tokens).toBe(1e12)
    expect(budget?.seconds).toBeCloseTo(seconds, 3)
    expect(budget?.deviceHours).toBeCloseTo((8 * seconds) / 3600, 6)
    expect(budget?.price).toBeCloseTo((2 * 8 * seconds) / 3600, 6)
  })

  test('defaults to the tokens of the run, and has no price unless one is given', async () => {
    const { budget, run } = await plan(await loadPlannedRun('M', []), await loadCluster('a100-8'))
    expect(budget?.tokens).toBe(run.train.steps * run.train.batch * run.model.sequence)
    expect(budget?.price).toBeUndefined()
  })
})
