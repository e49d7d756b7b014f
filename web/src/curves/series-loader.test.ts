import { signal } from '@preact/signals'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SeriesAnswer } from '../../../src/faces/watch/api.ts'
import { runWith } from '../testing/run.ts'

// Modules read their fields from the address when they are loaded.
vi.stubGlobal('location', { search: '', pathname: '/' })

interface SentRequest {
  readonly query: Readonly<Record<string, unknown>>
  readonly signal: AbortSignal
  readonly answer: (answer: SeriesAnswer) => void
  readonly fail: (error: Error) => void
}
const requests: SentRequest[] = []
vi.mock('../shared/client.ts', () => ({
  getJson: (_: string, query: SentRequest['query'], signal: AbortSignal) =>
    new Promise((answer, fail) => requests.push({ query, signal, answer, fail })),
}))

const { SeriesLoader } = await import('./series-loader.ts')
const { smoothing } = await import('./settings.ts')
const store = await import('../shared/store.ts')

const answerOf = (y: number): SeriesAnswer => ({
  metric: 'train/loss',
  x: 'step',
  series: [{ run: 'a', x: [1], y: [y], of: 1 }],
})
const last = () => requests.at(-1) as SentRequest
const change = (version: number) => {
  store.versions.value = new Map([['a', version]])
}

describe('a loader of series', () => {
  const inSight = signal(true)
  let loader: InstanceType<typeof SeriesLoader>
  let stop: () => void

  beforeEach(() => {
    vi.useFakeTimers()
    requests.length = 0
    smoothing.value = 0.6
    inSight.value = true
    store.problem.value = null
    store.versions.value = new Map()
    const runs = [runWith({ id: 'a' }), runWith({ id: 'b', metrics: [] })]
    store.collection.value = { version: 1, roots: [], runs, progress: null }
    loader = new SeriesLoader('train/loss', 800)
    stop = loader.follow(inSight)
  })
  afterEach(() => {
    stop()
    vi.useRealTimers()
  })

  it('does not smooth evaluations', async () => {
    stop()
    store.collection.value = {
      version: 1,
      roots: [],
      runs: [runWith({ id: 'a', metrics: ['eval/loss'] })],
      progress: null,
    }
    stop = new SeriesLoader('eval/loss', 800).follow(inSight)
    await vi.advanceTimersByTimeAsync(100)
    expect(last().query).toMatchObject({ metric: 'eval/loss', smoothing: 0 })
  })

  it('sends one request for all runs that have the metric', async () => {
    await vi.advanceTimersByTimeAsync(100)
    expect(requests).toHaveLength(1)
    expect(last().query).toMatchObject({ runs: 'a', metric: 'train/loss', x: 'step', smoothing: 0.6, points: 800 })
    last().answer(answerOf(3))
    await vi.advanceTimersByTimeAsync(0)
    expect(loader.answer.value).toEqual(answerOf(3))
  })

  it('requests only the last of many settings, and drops the response to an earlier one', async () => {
    await vi.advanceTimersByTimeAsync(100)
    const early = last()
    for (const value of [0.1, 0.2, 0.3]) smoothing.value = value
    expect(early.signal.aborted).toBe(true)
    await vi.advanceTimersByTimeAsync(100)
    expect(requests.map(({ query }) => query.smoothing)).toEqual([0.6, 0.3])
    last().answer(answerOf(3))
    early.answer(answerOf(1))
    await vi.advanceTimersByTimeAsync(0)
    expect(loader.answer.value).toEqual(answerOf(3))
  })

  it('requests new points at most once a second, and one at a time', async () => {
    await vi.advanceTimersByTimeAsync(100)
    for (let version = 1; version <= 10; version++) {
      change(version)
      await vi.advanceTimersByTimeAsync(300)
    }
    expect(requests).toHaveLength(1)
    last().answer(answerOf(1))
    for (let version = 11; version <= 20; version++) {
      change(version)
      await vi.advanceTimersByTimeAsync(300)
      last().answer(answerOf(version))
    }
    expect(requests.length).toBeGreaterThanOrEqual(3)
    expect(requests.length).toBeLessThanOrEqual(5)
  })

  it('requests nothing out of sight, and missed points when it becomes visible again', async () => {
    await vi.advanceTimersByTimeAsync(100)
    last().answer(answerOf(1))
    await vi.advanceTimersByTimeAsync(2000)
    inSight.value = false
    change(5)
    await vi.advanceTimersByTimeAsync(5000)
    expect(requests).toHaveLength(1)
    inSight.value = true
    await vi.advanceTimersByTimeAsync(100)
    expect(requests).toHaveLength(2)
  })

  it('keeps its points when a request fails, and retries when the server is back', async () => {
    await vi.advanceTimersByTimeAsync(100)
    last().answer(answerOf(1))
    await vi.advanceTimersByTimeAsync(2000)
    change(1)
    await vi.advanceTimersByTimeAsync(100)
    last().fail(new Error('gone'))
    store.problem.value = 'gone'
    await vi.advanceTimersByTimeAsync(5000)
    expect([loader.problem.value, loader.answer.value]).toEqual(['gone', answerOf(1)])
    expect(requests).toHaveLength(2)
    store.problem.value = null
    await vi.advanceTimersByTimeAsync(100)
    expect(requests).toHaveLength(3)
    last().answer(answerOf(2))
    await vi.advanceTimersByTimeAsync(0)
    expect([loader.problem.value, loader.answer.value]).toEqual([null, answerOf(2)])
  })
})
