import { expect, test, vi } from 'vitest'
import { eventually } from '../../../src/node/system/testing/eventually.ts'
import { ChunkCache, type FetchLoads, LoadsLoader, snapshotAt } from './loads-loader.ts'

const floats = 2

/** A server whose snapshot t contains t, and which records its requests. */
function serve(total: () => number) {
  const requests: number[] = []
  const fetchLoads: FetchLoads = async (from, to, signal) => {
    requests.push(from)
    await Promise.resolve()
    if (signal.aborted) throw new DOMException('', 'AbortError')
    const count = Math.max(0, Math.min(to, total()) - from)
    return Float32Array.from({ length: count * floats }, (_, i) => from + Math.floor(i / floats))
  }
  return { requests, fetchLoads }
}

const open = (fetchLoads: FetchLoads) => {
  const failed = vi.fn()
  return { failed, loads: new LoadsLoader(fetchLoads, { arrived: () => {}, failed }) }
}

test('the current chunk is loaded first, then the next in the direction of movement, then the previous', async () => {
  const { requests, fetchLoads } = serve(() => 200)
  const { loads } = open(fetchLoads)
  loads.follow(200, 0, floats)
  loads.request(70, 1)
  await eventually(() => expect(requests).toEqual([64, 96, 32]))
  await eventually(() => expect([...(loads.get(70) ?? [])]).toEqual([70, 70]))
  loads.request(71, 1)
  expect(requests).toHaveLength(3)
})

test('a chunk that grew is fetched again, a complete chunk is not', async () => {
  let total = 40
  const { requests, fetchLoads } = serve(() => total)
  const { loads } = open(fetchLoads)
  loads.follow(40, 0, floats)
  loads.request(39, 1)
  await eventually(() => expect(loads.get(39)).toBeDefined())
  await eventually(() => expect(loads.get(0)).toBeDefined())
  total = 41
  loads.follow(41, 0, floats)
  expect(loads.get(40)).toBeUndefined()
  loads.request(40, 1)
  await eventually(() => expect([...(loads.get(40) ?? [])]).toEqual([40, 40]))
  expect(requests).toEqual([32, 0, 32])
})

test('another generation drops everything', async () => {
  const { fetchLoads } = serve(() => 32)
  const { loads } = open(fetchLoads)
  loads.follow(32, 0, floats)
  loads.request(3, 1)
  await eventually(() => expect(loads.get(3)).toBeDefined())
  loads.follow(32, 1, floats)
  expect(loads.get(3)).toBeUndefined()
})

test('a jump aborts an obsolete request, which is not a failure', async () => {
  const { requests, fetchLoads } = serve(() => 1000)
  const { loads, failed } = open(fetchLoads)
  loads.follow(1000, 0, floats)
  loads.request(0, 1)
  loads.request(900, 1)
  await eventually(() => expect(loads.get(900)).toBeDefined())
  expect(requests.slice(0, 2)).toEqual([0, 896])
  expect(loads.get(0)).toBeUndefined()
  expect(failed).not.toHaveBeenCalled()
})

test('a response that is shorter than expected is not requested again and again', async () => {
  const { requests, fetchLoads } = serve(() => 10)
  const { loads } = open(fetchLoads)
  loads.follow(20, 0, floats)
  loads.request(15, 1)
  await eventually(() => expect(loads.get(9)).toBeDefined())
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(requests).toEqual([0])
})

test('a failure is reported, and the next request retries', async () => {
  let broken = true
  const { fetchLoads } = serve(() => 32)
  const { loads, failed } = open((...args) => (broken ? Promise.reject(new Error('gone')) : fetchLoads(...args)))
  loads.follow(32, 0, floats)
  loads.request(0, 1)
  await eventually(() => expect(failed).toHaveBeenCalledOnce())
  broken = false
  loads.request(0, 1)
  await eventually(() => expect(loads.get(0)).toBeDefined())
})

test('the cache stays within its limit and evicts the least recently used chunk', () => {
  const cache = new ChunkCache(3 * 4)
  const chunk = () => new Float32Array(1)
  for (const each of [0, 1, 2]) cache.set(each, chunk())
  cache.get(0)
  cache.set(3, chunk())
  expect([0, 1, 2, 3].map((each) => cache.get(each) !== undefined)).toEqual([true, false, true, true])
  cache.set(9, new Float32Array(100))
  expect([0, 2, 3, 9].map((each) => cache.get(each) !== undefined)).toEqual([false, false, false, true])
})

test('a step maps to its nearest snapshot, null to the newest', () => {
  const steps = [10, 20, 40]
  expect([0, 10, 14, 16, 29, 31, 99].map((step) => snapshotAt(steps, step))).toEqual([0, 0, 0, 1, 1, 2, 2])
  expect(snapshotAt(steps, null)).toBe(2)
  expect(snapshotAt([], null)).toBe(-1)
  expect(snapshotAt([], 5)).toBe(-1)
})
