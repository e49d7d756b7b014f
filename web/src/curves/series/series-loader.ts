/**
 * Gets the points of one metric for all runs that are shown, while the card is in sight. What is asked for anew is
 * asked at once (settings move in small steps, so after a moment); what a running run adds, at most once a second.
 */
import { effect, type ReadonlySignal, signal, untracked } from '@preact/signals'
import type { SeriesAnswer } from '../../../../src/watch/api.ts'
import { getJson } from '../../client.ts'
import { problem as disconnected, shownRuns, versions } from '../../store.ts'
import { from, smoothing, to, xAxis } from '../settings.ts'

const SETTLE_MS = 80
const REFRESH_MS = 1000
/** Points of a run, and of all together: what a card can draw many times a second. */
const MIN_POINTS = 60
const MAX_POINTS_IN_ALL = 40_000

type Query = Readonly<Record<string, string | number | undefined>>

export class SeriesLoader {
  readonly answer = signal<SeriesAnswer | null>(null)
  readonly problem = signal<string | null>(null)
  readonly loading = signal(false)

  private readonly metric: string
  private readonly most: number
  private key = ''
  private version = -1
  private timer: ReturnType<typeof setTimeout> | null = null
  private request: AbortController | null = null
  /** Something changed while a request was under way. */
  private again = false
  private started = 0

  /** `most`: points of a run, unless there are very many runs. */
  constructor(metric: string, most: number) {
    this.metric = metric
    this.most = most
  }

  /** Returns how to stop. */
  follow(inSight: ReadonlySignal<boolean>): () => void {
    const stop = effect(() => {
      if (!inSight.value) return
      const runs = shownRuns.value.filter(({ metrics }) => metrics.includes(this.metric)).map(({ id }) => id)
      // Any of them changes the sum, also where a new server counts from the beginning.
      const version = runs.reduce((sum, id) => sum + (versions.value.get(id) ?? 0), 0)
      const connected = disconnected.value === null
      const query = {
        runs: runs.join(','),
        metric: this.metric,
        x: xAxis.value,
        smoothing: smoothing.value,
        points: Math.min(this.most, Math.max(MIN_POINTS, Math.floor(MAX_POINTS_IN_ALL / Math.max(1, runs.length)))),
        from: from.value ?? undefined,
        to: to.value ?? undefined,
      }
      untracked(() => this.want(query, version, connected && this.problem.value !== null))
    })
    return () => {
      stop()
      this.abandon()
    }
  }

  private want(query: Query, version: number, retry: boolean): void {
    const key = JSON.stringify(query)
    const newQuery = key !== this.key
    const newPoints = version !== this.version || retry
    this.key = key
    this.version = version
    if (newQuery) {
      this.abandon()
      this.plan(query, SETTLE_MS)
    } else if (newPoints) {
      if (this.request) this.again = true
      else if (this.timer === null) this.plan(query, Math.max(0, this.started + REFRESH_MS - performance.now()))
    }
  }

  private plan(query: Query, wait: number): void {
    this.timer = setTimeout(async () => {
      this.timer = null
      this.again = false
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
      if (this.again) this.plan(query, Math.max(0, this.started + REFRESH_MS - performance.now()))
    }, wait)
  }

  private abandon(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.request?.abort()
    this.request = null
    this.again = false
    this.loading.value = false
  }
}
