/**
 * Loads the points of a metric for all shown runs while its card is in sight. A new query is sent after a short delay
 * (sliders move in small steps); new points of running runs are loaded at most once a second.
 */
import { effect, type ReadonlySignal, signal, untracked } from '@preact/signals'
import type { SeriesAnswer } from '../../../src/faces/watch/api.ts'
import { getJson } from '../shared/client.ts'
import { problem as disconnected, shownRuns, versions } from '../shared/store.ts'
import { from, smoothing, to, xAxis } from './settings.ts'

const SETTLE_MS = 80
const REFRESH_MS = 1000

/** Fewest points per run, and limit of the points of all runs, which a card can draw many times a second. */
const MIN_POINTS = 60
const MAX_TOTAL_POINTS = 40_000

type Query = Readonly<Record<string, string | number | undefined>>

export class SeriesLoader {
  readonly answer = signal<SeriesAnswer | null>(null)
  readonly problem = signal<string | null>(null)
  readonly loading = signal(false)

  private readonly metric: string
  private readonly maxPoints: number
  private key = ''
  private version = -1
  private timer: ReturnType<typeof setTimeout> | null = null
  private request: AbortController | null = null
  /** Whether points changed during the current request. */
  private isStale = false
  private started = 0

  /** @param maxPoints Points per run, unless there are very many runs. */
  constructor(metric: string, maxPoints: number) {
    this.metric = metric
    this.maxPoints = maxPoints
  }

  /** Loads points whenever the query or the runs change. @returns a function that stops the loader */
  follow(inSight: ReadonlySignal<boolean>): () => void {
    const stop = effect(() => {
      if (!inSight.value) return
      const runs = shownRuns.value.filter(({ metrics }) => metrics.includes(this.metric)).map(({ id }) => id)
      const query = {
        runs: runs.join(','),
        metric: this.metric,
        x: xAxis.value,
        // An evaluation is a mean over held-out text: smoothing would only shift its few points.
        smoothing: this.metric.startsWith('eval/') ? 0 : smoothing.value,
        points: Math.min(this.maxPoints, Math.max(MIN_POINTS, Math.floor(MAX_TOTAL_POINTS / Math.max(1, runs.length)))),
        from: from.value ?? undefined,
        to: to.value ?? undefined,
      }
      // Versions only grow, so every change of a run changes the sum.
      const version = runs.reduce((sum, id) => sum + (versions.value.get(id) ?? 0), 0)
      const connected = disconnected.value === null
      untracked(() => this.update(query, version, connected && this.problem.value !== null))
    })
    return () => {
      stop()
      this.cancel()
    }
  }

  private update(query: Query, version: number, retry: boolean): void {
    const key = JSON.stringify(query)
    const newQuery = key !== this.key
    const newPoints = version !== this.version || retry
    this.key = key
    this.version = version
    if (newQuery) {
      this.cancel()
      this.schedule(query, SETTLE_MS)
    } else if (newPoints) {
      if (this.request) this.isStale = true
      else if (this.timer === null) this.schedule(query, Math.max(0, this.started + REFRESH_MS - performance.now()))
    }
  }

  private schedule(query: Query, wait: number): void {
    this.timer = setTimeout(async () => {
      this.timer = null
      this.isStale = false
      this.started = performance.now()
      const request = new AbortController()
      this.request = request
      this.loading.value = true
      try {
        const answer = await getJson<SeriesAnswer>('/api/series', query, request.signal)
        if (request.signal.aborted) return
        this.answer.value = answer
        this.problem.value = null
      } catch (error) {
        if (request.signal.aborted) return
        this.problem.value = (error as Error).message
      }
      this.request = null
      this.loading.value = false
      if (this.isStale) this.schedule(query, Math.max(0, this.started + REFRESH_MS - performance.now()))
    }, wait)
  }

  private cancel(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.request?.abort()
    this.request = null
    this.isStale = false
    this.loading.value = false
  }
}
