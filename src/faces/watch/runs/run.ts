/** A run as the dashboard sees it, and what both readers of runs have in common. */
import type { RanksOfSteps, RoutingHistory, RoutingIndex, RunSummary, Series, TokenTrace } from '../api.ts'
import type { SeriesQuery, Track } from './series.ts'
import type { Snapshots } from './snapshots.ts'
import type { LineTail } from './tail.ts'

export interface WatchedRun {
  readonly id: string
  /** Absolute real path. */
  readonly directory: string
  readonly kind: 'choir' | 'trace'
  summary(): RunSummary
  /** The curve of a metric; undefined if the run has no such metric. */
  series(metric: string, query: SeriesQuery): Series | undefined
  /** All values of a metric; undefined if the run has no such metric. Traces do not have it. */
  track?(metric: string): Track | undefined
  /** Routers and kept snapshots; undefined while nothing is recorded. */
  routing(): RoutingIndex | undefined
  /** Loads of kept snapshots `from` up to but excluding `to`, of shape [to - from][routers][2][experts]. */
  loads(from: number, to: number): Float32Array
  /** Loads of a router at all kept snapshots, of shape [snapshots][2][experts]. */
  history(router: number): Float32Array
  routingSummary(router: number): RoutingHistory
  /** Means over the last `span` records of ranks up to a step; undefined without ranks. Traces do not have it. */
  ranks?(span: number, step?: number): RanksOfSteps | undefined
  /** The record of a failure, which is JSON; undefined if the run has not failed. Traces do not have it. */
  failureRecord?(): Promise<Buffer | undefined>
  /** The recorded tokens of a kept snapshot. Only traces have it. */
  recorded?(snapshot: number): Promise<TokenTrace>
}

/** A run that a collection keeps up to date. */
export interface PolledRun extends WatchedRun {
  /** Bytes read and bytes in total; null once everything was read for the first time. */
  readonly progress: { readonly done: number; readonly of: number } | null
  /** Reads part of the new data; less of it once the signal is aborted. */
  poll(signal?: AbortSignal): Promise<PollResult>
  /** Limits the bytes of memory of its routing. */
  limit(memory: number): void
}

export interface PollResult {
  readonly isChanged: boolean
  /** Whether there is more to read now. */
  readonly isBehind: boolean
  /** Whether more data is expected soon. */
  readonly isRunning: boolean
}

/** Identity and location of a run, as discovery.ts finds it. */
export interface FoundRun {
  readonly id: string
  /** Path relative to the root, separated by `/`; the folder's own name if it is the root. */
  readonly path: string
  readonly directory: string
  /** Real path below which its files must be. */
  readonly root: string
}

/** Bytes read of a file before other files get their turn. */
export const MAX_POLL_BYTES = 16 << 20

/** Lines of a step are written together: once the newest line is this old, the step is complete. */
export const SETTLED_MS = 2000

/** A run without new data for this long is no longer being written. */
export const QUIET_MS = 20_000

/** What is the same for every folder whose files are followed: its place, its loads of experts, and how far it is read. */
export abstract class FollowedRun {
  readonly id: string
  readonly directory: string
  protected readonly found: FoundRun
  protected isReading = true
  private lastStatus = ''

  constructor(found: FoundRun) {
    this.found = found
    this.id = found.id
    this.directory = found.directory
  }

  protected abstract readonly tails: readonly LineTail[]
  protected abstract readonly snapshots: Snapshots

  get progress(): { readonly done: number; readonly of: number } | null {
    if (!this.isReading) return null
    const sum = (bytes: (tail: LineTail) => number) => this.tails.reduce((total, tail) => total + bytes(tail), 0)
    return { done: sum(({ position }) => position), of: sum(({ size }) => size) }
  }

  routing(): RoutingIndex | undefined {
    return this.snapshots.index(this.id)
  }

  loads(from: number, to: number): Float32Array {
    return this.snapshots.loads(from, to)
  }

  history(router: number): Float32Array {
    return this.snapshots.history(router)
  }

  protected changed(): number {
    return Math.max(...this.tails.map(({ changed }) => changed))
  }

  /** Whether something else than the lines of its files has changed since the last call. */
  protected hasNewStatus(status: string): boolean {
    const isNew = status !== this.lastStatus
    this.lastStatus = status
    return isNew
  }

  /** A message about lines that were skipped, if there are any. */
  protected tooLong(): string | undefined {
    const skipped = this.tails.reduce((sum, tail) => sum + tail.skipped, 0)
    return skipped > 0 ? `lines longer than 8 MiB are left out: ${skipped}` : undefined
  }
}
