/** What the dashboard knows of a run, whatever files it is read from. */
import type { RoutingHistory, RoutingIndex, RunSummary, Series, TokenTrace } from '../api.ts'
import type { SeriesQuery } from './series.ts'

export interface WatchedRun {
  readonly id: string
  /** Absolute, real. */
  readonly directory: string
  readonly kind: 'choir' | 'trace'
  summary(): RunSummary
  /** Undefined when the run has no such metric. */
  series(metric: string, query: SeriesQuery): Series | undefined
  /** Undefined while nothing is recorded. */
  routing(): RoutingIndex | undefined
  /** [to - from][routers][2][experts] of kept snapshots `from` to before `to`. */
  loads(from: number, to: number): Float32Array
  /** [snapshots][2][experts] */
  history(router: number): Float32Array
  routingSummary(router: number): RoutingHistory
  /** Of a trace: what was recorded of tokens at a kept snapshot. */
  recorded?(snapshot: number): Promise<TokenTrace>
}

/** A run that a collection keeps up to date. */
export interface PolledRun extends WatchedRun {
  /** Bytes read and to read; null once all was read for the first time. */
  readonly progress: { readonly done: number; readonly of: number } | null
  /** Reads a part of what is new. */
  poll(): Promise<PollResult>
  /** Bytes of memory that its routing may take. */
  limit(memory: number): void
}

export interface PollResult {
  readonly isChanged: boolean
  /** Whether there is more to read at once. */
  readonly isBehind: boolean
  /** Whether more is to be expected soon. */
  readonly isRunning: boolean
}

/** A run in its folder, as a collection finds it. */
export interface Found {
  readonly id: string
  readonly name: string
  readonly directory: string
  /** Real path below which its files must lie. */
  readonly root: string
}

/** Bytes to read of a file before others have their turn. */
export const TURN = 16 << 20

/** Lines of a step are written together: a step whose lines are this old, in milliseconds, has all it will have. */
export const SETTLED = 2000

/** Writing is over when nothing came for so long. */
export const QUIET = 20_000
