/**
 * Loads the points of a card while it is in sight. A new query is sent after a short delay (sliders move in small
 * steps); new points of running runs are loaded at most once a second.
 */
import { effect, type ReadonlySignal, signal, untracked } from '@preact/signals'
import { getJson } from '../../client.ts'
import { problem as disconnected, versions } from '../../store.ts'

const SETTLE_MS = 80
const REFRESH_MS = 1000

/** An evaluation is a mean over held-out text: smoothing would only shift its few points. */
export const isEvaluation = (metric: string) => metric.startsWith('eval/')

type Query = Readonly<Record<string, string | number | undefined>>

export interface PointsRequest {
  readonly query: Query
  /** Ids of the runs whose changes make the points old. */
  readonly runs: readonly string[]
}

export class PointsLoader<Answer> {
  readonly answer = signal<Answer | null>(null)
  readonly problem = signal<string | null>(null)
  readonly loading = signal(false)

  private readonly path: string
  private readonly requestOf: () => PointsRequest | null
  private key = ''
  private version = -1
  private timer: ReturnType<typeof setTimeout> | null = null
  private request: AbortController | null = null
  /** Whether points changed during the current request. */
  private isStale = false
  private started = 0

  /** @param requestOf What to request, or null for nothing; it reads signals. */
  constructor(path: string, requestOf: () => PointsRequest | null) {
    this.path = path
    this.requestOf = requestOf
  }

  /** Loads points whenever the query or the runs change. @returns a function that stops the loader */
  follow(inSight: ReadonlySignal<boolean>): () => void {
    const stop = effect(() => {
      if (!inSight.value) return
      const request = this.requestOf()
      if (!request) return untracked(() => this.clear())
      const { query, runs } = request
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
        const answer = await getJson<Answer>(this.path, query, request.signal)
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

  private clear(): void {
    this.cancel()
    this.key = ''
    this.answer.value = null
    this.problem.value = null
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
