/** What the server is told of run directories. */
import type { Change, Collection, RoutingHistory, RoutingIndex, RunSummary, Series, TokenTrace, XAxis } from './api.ts'

export interface SeriesQuery {
  readonly x: XAxis
  readonly smoothing: number
  readonly points: number
  readonly from?: number
  readonly to?: number
}

export interface WatchedRun {
  readonly id: string
  /** Absolute and real. */
  readonly directory: string
  readonly kind: 'choir' | 'trace'
  summary(): RunSummary
  series(metric: string, query: SeriesQuery): Series | undefined
  routing(): RoutingIndex | undefined
  loads(from: number, to: number): Float32Array
  history(router: number): Float32Array
  routingSummary(router: number): RoutingHistory
  recorded?(snapshot: number): Promise<TokenTrace>
}

export declare class WatchedCollection {
  static open(roots: readonly string[], options?: { readonly pollMs?: number }): Promise<WatchedCollection>
  describe(): Collection
  run(id: string): WatchedRun | undefined
  onChange(listener: (change: Change) => void): () => void
  close(): Promise<void>
}
