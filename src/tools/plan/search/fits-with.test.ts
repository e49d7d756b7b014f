import { describe, expect, test } from 'vitest'
import { plan } from '../plan.ts'
import { idealCluster, sparseRun } from '../testing/cases.ts'
import { lackingBytes, rank } from './search.ts'

const runWith = (fitsWith: number) => sparseRun({}, { fitsWith, parallel: { tensor: 1, pipeline: 1 } }, { layers: 4 })
const withMemory = (memory: number) => ({ ...idealCluster(8), device: { ...idealCluster(8).device, memory } })
const sizes = rank(runWith(0.5), withMemory(80e9))
  .fitting.map(({ memory }) => memory.deviceBytes)
  .sort((a, b) => a - b)
/** Memory into which half of the layouts fit. */
const middle = sizes[Math.floor(sizes.length / 2)] as number
const cluster = withMemory(middle)

describe('layouts that have to fit with a probability', () => {
  test('are those whose memory, with the margin of its interval, is below the memory of the device', () => {
    for (const fitsWith of [0.5, 0.75, 0.9]) {
      const { fitting, rejected } = rank(runWith(fitsWith), cluster)
      expect(fitting.length).toBeGreaterThan(0)
      expect(rejected.length).toBeGreaterThan(0)
      for (const { fitProbability } of fitting) expect(fitProbability).toBeGreaterThanOrEqual(fitsWith - 1e-6)
      for (const { fitProbability } of rejected) expect(fitProbability).toBeLessThan(fitsWith + 1e-6)
    }
  })

  test('are fewer the more certain they have to be, and the best is the fastest of them', () => {
    const [even, sure] = [rank(runWith(0.5), cluster), rank(runWith(0.9), cluster)]
    expect(sure.fitting.length).toBeLessThan(even.fitting.length)
    const layouts = new Set(sure.fitting.map(({ layout }) => JSON.stringify(layout)))
    const [fastest] = even.fitting.filter(({ layout }) => layouts.has(JSON.stringify(layout)))
    expect(sure.fitting[0]?.layout).toEqual(fastest?.layout)
  })

  // The end of an 80 % interval is exceeded with 10 %.
  test('lack the bytes by which the end of the 80 % interval exceeds the memory, for 90 %', () => {
    const [prediction] = rank(runWith(0.5), cluster).rejected
    if (!prediction?.interval) throw new Error('no interval')
    const { memory, interval } = prediction
    expect(lackingBytes(cluster, prediction)).toBe(memory.deviceBytes - middle)
    const end = memory.deviceBytes * interval.memory
    expect(Math.abs(lackingBytes(cluster, prediction, 0.9) / (end - middle) - 1)).toBeLessThan(1e-5)
  })

  test('of a device that was measured itself are compared without a margin', async () => {
    const measured = { ...cluster, device: { ...cluster.device, constants: 'measured' as const } }
    const { fitting } = rank(runWith(0.9), measured)
    expect(fitting.length).toBe(rank(runWith(0.5), cluster).fitting.length)
    expect(fitting.every(({ fitProbability }) => fitProbability === null)).toBe(true)
  })

  test('count the memory of the host too', () => {
    const hosted = { ...cluster, device: { ...cluster.device, memory: 80e9, hostMemory: 1e6 } }
    const { fitting, rejected } = rank(
      sparseRun({}, { offload: 'all', parallel: { tensor: 1, pipeline: 1 } }, { layers: 4 }),
      hosted,
    )
    expect(fitting).toEqual([])
    for (const { fitProbability } of rejected) expect(fitProbability).toBeLessThan(0.5)
  })
})

describe('a plan', () => {
  test('has the probability of its best layout, or of the closest one if none fits', async () => {
    const fits = await plan(runWith(0.75), cluster)
    expect(fits.fits).toBe(true)
    expect(fits.fitProbability).toBe(fits.best[0]?.fitProbability)
    const not = await plan(runWith(0.9), withMemory((sizes[0] as number) / 1.1))
    expect(not.fits).toBe(false)
    expect(not.fitProbability).toBe(not.rejected[0]?.prediction.fitProbability)
    expect(not.fitProbability).toBeLessThan(0.9)
  })
})
