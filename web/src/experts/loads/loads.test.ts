import { expect, test, vi } from 'vitest'
import { ChunkCache } from './chunk-cache.ts'
import { type FetchLoads, Loads } from './loads.ts'
import { snapshotAt } from './snapshot-at.ts'

const floats = 2

/** A server whose snapshot t holds t, and that tells what it was asked. */
function serve(total: () => number) {
  const asked: number[] = []
  const fetchLoads: FetchLoads = async (from, to, signal) => {
    asked.push(from)
    await Promise.resolve()
    if (signal.aborted) throw new DOMException('', 'AbortError')
    const there = Math.max(0, Math.min(to, total()) - from)
    return Float32Array.from({ length: there * floats }, (_, i) => from + Math.floor(i / floats))
  }
  return { asked, fetchLoads }
}

const open = (fetchLoads: FetchLoads) => {
  const failed = vi.fn()
  return { failed, loads: new Loads(fetchLoads, { arrived: () => {}, failed }) }
}

test('what is looked at comes first, then where the scrubber goes, then where it came from', async () => {
  const { asked, fetchLoads } = serve(() => 200)
  const { loads } = open(fetchLoads)
  loads.follow(200, 0, floats)
  loads.want(70, 1)
  await vi.waitFor(() => expect(asked).toEqual([64, 96, 32]))
  await vi.waitFor(() => expect([...(loads.get(70) ?? [])]).toEqual([70, 70]))
  loads.want(71, 1)
  expect(asked).toHaveLength(3)
})

test('a chunk that grew is fetched again, one that is whole is not', async () => {
  let total = 40
  const { asked, fetchLoads } = serve(() => total)
  const { loads } = open(fetchLoads)
  loads.follow(40, 0, floats)
  loads.want(39, 1)
  await vi.waitFor(() => expect(loads.get(39)).toBeDefined())
  await vi.waitFor(() => expect(loads.get(0)).toBeDefined())
  total = 41
  loads.follow(41, 0, floats)
  expect(loads.get(40)).toBeUndefined()
  loads.want(40, 1)
  await vi.waitFor(() => expect([...(loads.get(40) ?? [])]).toEqual([40, 40]))
  expect(asked).toEqual([32, 0, 32])
})

test('another generation drops everything', async () => {
  const { fetchLoads } = serve(() => 32)
  const { loads } = open(fetchLoads)
  loads.follow(32, 0, floats)
  loads.want(3, 1)
  await vi.waitFor(() => expect(loads.get(3)).toBeDefined())
  loads.follow(32, 1, floats)
  expect(loads.get(3)).toBeUndefined()
})

test('a jump aborts what nobody wants any more, and that is no failure', async () => {
  const { asked, fetchLoads } = serve(() => 1000)
  const { loads, failed } = open(fetchLoads)
  loads.follow(1000, 0, floats)
  loads.want(0, 1)
  loads.want(900, 1)
  await vi.waitFor(() => expect(loads.get(900)).toBeDefined())
  expect(asked.slice(0, 2)).toEqual([0, 896])
  expect(loads.get(0)).toBeUndefined()
  expect(failed).not.toHaveBeenCalled()
})

test('an answer that is shorter than promised is not asked for without end', async () => {
  const { asked, fetchLoads } = serve(() => 10)
  const { loads } = open(fetchLoads)
  loads.follow(20, 0, floats)
  loads.want(15, 1)
  await vi.waitFor(() => expect(loads.get(9)).toBeDefined())
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(asked).toEqual([0])
})

test('a failure is told, and the next look tries again', async () => {
  let broken = true
  const { fetchLoads } = serve(() => 32)
  const { loads, failed } = open((...given) => (broken ? Promise.reject(new Error('gone')) : fetchLoads(...given)))
  loads.follow(32, 0, floats)
  loads.want(0, 1)
  await vi.waitFor(() => expect(failed).toHaveBeenCalledOnce())
  broken = false
  loads.want(0, 1)
  await vi.waitFor(() => expect(loads.get(0)).toBeDefined())
})

test('the cache holds no more than its bytes, and throws out what was not used for longest', () => {
  const cache = new ChunkCache(3 * 4)
  const chunk = () => new Float32Array(1)
  for (const each of [0, 1, 2]) cache.set(each, chunk())
  cache.get(0)
  cache.set(3, chunk())
  expect([0, 1, 2, 3].map((each) => cache.get(each) !== undefined)).toEqual([true, false, true, true])
  cache.set(9, new Float32Array(100))
  expect([0, 2, 3, 9].map((each) => cache.get(each) !== undefined)).toEqual([false, false, false, true])
})

test('a step stands for its nearest snapshot, none for the newest', () => {
  const steps = [10, 20, 40]
  expect([0, 10, 14, 16, 29, 31, 99].map((step) => snapshotAt(steps, step))).toEqual([0, 0, 0, 1, 1, 2, 2])
  expect(snapshotAt(steps, null)).toBe(2)
  expect(snapshotAt([], null)).toBe(-1)
  expect(snapshotAt([], 5)).toBe(-1)
})
