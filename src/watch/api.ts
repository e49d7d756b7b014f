/**
 * What the dashboard's server and its page say to each other. Types only, so that the page imports them and
 * nothing of the server comes with them.
 *
 *     GET  /api/collection                                     Collection
 *     GET  /api/series?runs=A,B&metric=train/loss&x=tokens&smoothing=0.6&points=800&from=&to=    SeriesAnswer
 *     GET  /api/routing?run=A                                  RoutingIndex
 *     GET  /api/routing/loads?run=A&from=0&to=32               Float32 [snapshots][routers][2][experts]
 *     GET  /api/routing/history?run=A&router=0                 Float32 [snapshots][2][experts]
 *     GET  /api/routing/summary?run=A&router=0                 RoutingHistory
 *     GET  /api/documents?run=A                                DocumentList
 *     POST /api/trace      TraceRequest                        TokenTrace
 *     POST /api/top-tokens TopTokensRequest                    TopTokens
 *     GET  /api/events                                         server-sent events; `change` carries a Change
 *
 * A run is named by its id, never by a path. What fails answers with a status of 4xx or 5xx and a Problem.
 * Numbers of experts differ from router to router in nothing but a trace from elsewhere; arrays of Float32 (little
 * endian) are filled up with zeros to the largest number of experts of the run, `RoutingIndex.experts`.
 */
import type { FrequentTokens } from '../infer/top-tokens.ts'

/** Named fields of a configuration by path, `model.moe.k`. Lists are joined by commas. */
export type FlatConfig = Readonly<Record<string, string | number | boolean | null>>

/**
 * - `running`: its files were written to within the time that a few steps take, and steps are left
 * - `finished`: the last step was done
 * - `stopped`: steps are left, and nobody writes
 * - `unreadable`: `problem` says why; what could be read is there
 */
export type RunState = 'running' | 'finished' | 'stopped' | 'unreadable'

export interface RunSummary {
  /** Stays the same as long as the folder does not move. Letters and digits. */
  readonly id: string
  /** The folder below the one that was given, with `/`; or that folder's own name. */
  readonly name: string
  /** A run directory of Choir, or a router trace of Megatron-Core. */
  readonly kind: 'choir' | 'trace'
  readonly state: RunState
  readonly problem?: string
  /** Last step with a metrics line; of a trace, its last step. */
  readonly step: number
  /** Steps that the configuration asks for; null where nobody knows. */
  readonly steps: number | null
  readonly tokens: number
  /** Last values; null when there is none yet. Losses in nats a token. */
  readonly loss: number | null
  readonly heldOutLoss: number | null
  readonly bitsPerByte: number | null
  readonly tokensPerSecond: number | null
  /** Of a running run, from the time of its last steps. */
  readonly secondsLeft: number | null
  /** Milliseconds since the epoch: when the run was made, and when its files last changed. */
  readonly created: number | null
  readonly changed: number
  /** Lines of metrics read so far. */
  readonly lines: number
  /** Whether files are still being read for the first time. */
  readonly reading: boolean
  /** What /api/series knows, as `train/loss` or `eval/bits_per_byte`. */
  readonly metrics: readonly string[]
  /** Whether /api/routing has something. */
  readonly routed: boolean
  /** Whether /api/trace and /api/top-tokens can answer: a checkpoint is there. A trace needs none. */
  readonly traceable: boolean
  /** Changes with the newest checkpoint; null without one. */
  readonly checkpoint: string | null
  /** Configuration; empty for a trace. */
  readonly config: FlatConfig
}

export interface Collection {
  /** Grows with every change of any run; of another start of the server it is another. */
  readonly version: number
  /** Folders as they were given. */
  readonly roots: readonly string[]
  /** By name. */
  readonly runs: readonly RunSummary[]
  /** Bytes read and to read while files are read for the first time; null once they are. */
  readonly progress: { readonly done: number; readonly of: number } | null
}

/** Of `change` events; at most two a second. */
export interface Change {
  readonly version: number
  /** Ids of runs that changed, appeared or went. */
  readonly runs: readonly string[]
}

/** Steps; tokens trained on; seconds of training; floating-point operations of the model, forward and backward. */
export const xAxes = ['step', 'tokens', 'time', 'flops'] as const
export type XAxis = (typeof xAxes)[number]

export interface Series {
  readonly run: string
  readonly x: readonly number[]
  /** Smoothed; null where the value is no finite number. */
  readonly y: readonly (number | null)[]
  /** Not smoothed, at the same places; absent when there is no smoothing. */
  readonly raw?: readonly (number | null)[]
  /** Points that there are in the range asked for; beside them stands one on each side, where a line enters it. When there are more than given, each stretch gives its extremes. */
  readonly of: number
}

export interface SeriesAnswer {
  readonly metric: string
  readonly x: XAxis
  /** Runs that have the metric, in the order asked for. */
  readonly series: readonly Series[]
}

/** A router: a routed module of a layer. */
export interface RouterInfo {
  readonly layer: number
  /** `ffn`, `qkv`, `output`; of a trace what it calls the block, e.g. `decoder`. */
  readonly module: string
  readonly experts: number
  /** Experts of prototype z are those from z · experts / prototypes on. */
  readonly prototypes: number
}

export interface RoutingIndex {
  readonly run: string
  readonly routers: readonly RouterInfo[]
  /** Largest number of experts. */
  readonly experts: number
  /** Steps of the snapshots that are kept: all, or evenly every so many when there are more than some thousands. */
  readonly steps: readonly number[]
  /** Snapshots that the file holds. */
  readonly of: number
  /** Another when a kept snapshot has changed its place (older ones were thinned out, the file or the server is another). */
  readonly generation: number
}

/** Of one router, at the kept snapshots. Null where the file says nothing. */
export interface RoutingHistory {
  readonly load_cv: readonly (number | null)[]
  readonly load_cv_kept: readonly (number | null)[]
  readonly drop_rate: readonly (number | null)[]
  /** Nats. */
  readonly gate_entropy: readonly (number | null)[]
  readonly dead_experts: readonly (number | null)[]
  readonly max_over_mean: readonly (number | null)[]
}

export interface DocumentList {
  /** Held-out documents in their order; of a trace, its steps. */
  readonly documents: readonly { readonly index: number; readonly title: string; readonly characters: number }[]
}

export type TraceRequest =
  | { readonly run: string; readonly text: string }
  | { readonly run: string; readonly document: number }

/** Where every token of a text went: of a run without capacity, as in generation; of a trace as recorded. */
export interface TokenTrace {
  readonly run: string
  /** Step of the checkpoint. */
  readonly step: number
  /** Cross-entropy, nats a token; null for a trace. */
  readonly loss: number | null
  /** Text of each token; a trace from elsewhere has none and gives empty strings. */
  readonly tokens: readonly string[]
  /** Whether the text was longer than is looked at. */
  readonly cut: boolean
  readonly routers: readonly TokenRouter[]
}

export interface TokenRouter extends RouterInfo {
  /** Choices of a token, those of a prototype side by side. */
  readonly choices: number
  /** [tokens][choices]. Gates are null where nobody knows them. */
  readonly expert: readonly number[]
  readonly gate: readonly number[] | null
}

export interface TopTokensRequest {
  readonly run: string
  readonly router: number
  readonly expert: number
}

export interface TopTokens extends FrequentTokens {
  readonly step: number
}

/** Body of an answer with a status of 4xx or 5xx. */
export interface Problem {
  readonly problem: string
}
