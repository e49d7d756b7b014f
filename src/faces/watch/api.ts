/**
 * The HTTP interface between the dashboard's server and its page: types and one list, so that the page can import them
 * without bundling the server.
 *
 *     GET  /api/collection                                     Collection
 *     GET  /api/series?runs=A,B&metric=train/loss&x=tokens&smoothing=0.6&points=800&from=&to=    SeriesAnswer
 *     GET  /api/routing?run=A                                  RoutingIndex
 *     GET  /api/routing/loads?run=A&from=0&to=32               Float32 [snapshots][routers][2][experts]
 *     GET  /api/routing/history?run=A&router=0                 Float32 [snapshots][2][experts]
 *     GET  /api/routing/summary?run=A&router=0                 RoutingHistory
 *     GET  /api/ranks?run=A&span=20&step=400                  RanksOfSteps
 *     GET  /api/failure?run=A                                  the record of a failure, as the training left it
 *     GET  /api/documents?run=A                                DocumentList
 *     POST /api/trace      TraceRequest                        TokenTrace
 *     POST /api/top-tokens TopTokensRequest                    TopTokens
 *     GET  /api/events                                         server-sent events; `change` carries a Change
 *
 * Requests name a run by its id, never by a path. A failed request gets a status of 4xx or 5xx and a Problem.
 * Float32 arrays are little endian. Each router's row is padded with zeros to the run's largest number of experts,
 * `RoutingIndex.experts`; only in Megatron-Core traces do routers differ in it.
 */
import type { FrequentTokens } from '../../use/infer/top-tokens.ts'

/**
 * Configuration fields by path, such as `model.moe.k`. A run that began with the weights of another run also has
 * `from.run` and `from.step`, and a run of a study has `study.arm`; if its arm is not judged by it, `study.purpose` is `trial` or
 * `confirming run`. Lists are joined by commas.
 */
export type FlatConfig = Readonly<Record<string, string | number | boolean | null>>

/**
 * - `running`: steps are left, and its files were written to within the time of a few steps
 * - `finished`: the last step is done
 * - `stopped`: steps are left, but nothing writes its files
 * - `failed`: it stopped, and left a record of the reason; `failure` has the reason
 * - `unreadable`: `problem` has the reason; the parts that could be read are included
 */
export type RunState = 'running' | 'finished' | 'stopped' | 'failed' | 'unreadable'

export interface RunSummary {
  /** Identifier of letters and digits. It stays the same as long as the folder does not move. */
  readonly id: string
  /** Path relative to the watched folder, separated by `/`; the folder's own name if it is the run. */
  readonly path: string
  /** The path; for a run of a study, the study's folder, the arm and the seed: `quick/top-1, seed 2`. */
  readonly name: string
  /** A run directory of Choir, or a router trace of Megatron-Core. */
  readonly kind: 'choir' | 'trace'
  readonly state: RunState
  readonly problem?: string
  /** Why the run failed, in the words of the terminal. */
  readonly failure?: string
  /** What is wrong with its routers, in the words of the terminal; absent if the training has named nothing. */
  readonly routerFaults?: readonly string[]
  /** Last step with a metrics line; for a trace, its last step. */
  readonly step: number
  /** Steps that the configuration asks for; null if unknown. */
  readonly steps: number | null
  readonly tokens: number
  /** Last values; null where there is no value yet. Losses are in nats per token. */
  readonly loss: number | null
  readonly heldOutLoss: number | null
  /**
   * Number of tokens of the evaluation that gave `heldOutLoss`, if it was on a part of the held-out text
   * (`train.evalBatches`); absent if it was on all of it, or if that is unknown.
   */
  readonly heldOutPart?: number
  readonly bitsPerByte: number | null
  readonly tokensPerSecond: number | null
  /** Estimated from the time of the last steps; null unless the run is running. */
  readonly secondsLeft: number | null
  /** Milliseconds since the epoch: when the run was created, and when its files last changed. */
  readonly created: number | null
  readonly changed: number
  /** Lines of metrics read so far. */
  readonly lines: number
  /** Whether files are still being read for the first time. */
  readonly reading: boolean
  /** Metrics that /api/series has, such as `train/loss` or `eval/bits_per_byte`. */
  readonly metrics: readonly string[]
  /** Whether /api/routing has data. */
  readonly routed: boolean
  /** Whether /api/ranks has data: a training on several ranks. */
  readonly ranked: boolean
  /**
   * Whether /api/trace can answer: a run with experts needs a checkpoint, a router trace a step. For a run with experts
   * /api/top-tokens can answer then too.
   */
  readonly traceable: boolean
  /** Key that changes with the newest checkpoint; null without a checkpoint. */
  readonly checkpoint: string | null
  /** Configuration of the run; empty for a trace. */
  readonly config: FlatConfig
}

export interface Collection {
  /** Number that grows with every change of any run. It differs between starts of the server. */
  readonly version: number
  /** Watched folders, as the user wrote them. */
  readonly roots: readonly string[]
  /** Sorted by name. */
  readonly runs: readonly RunSummary[]
  /** Bytes read and bytes in total while files are read for the first time; then null. */
  readonly progress: { readonly done: number; readonly of: number } | null
}

/** Data of a `change` event. At most two events a second are sent. */
export interface Change {
  readonly version: number
  /** Ids of runs that changed, appeared or disappeared. */
  readonly runs: readonly string[]
}

/**
 * Horizontal axes: steps, tokens trained on, seconds of training, and floating-point operations of the model, forward
 * and backward.
 */
export const xAxes = ['step', 'tokens', 'time', 'flops'] as const
export type XAxis = (typeof xAxes)[number]

export interface Series {
  readonly run: string
  readonly x: readonly number[]
  /** Smoothed values; null where the value is not finite. */
  readonly y: readonly (number | null)[]
  /** Values before smoothing, at the same x; absent without smoothing. */
  readonly raw?: readonly (number | null)[]
  /** Number of points in the range before thinning. `x` also has one neighbour on each side of the range. */
  readonly of: number
}

export interface SeriesAnswer {
  readonly metric: string
  readonly x: XAxis
  /** Runs that have the metric, in the requested order. */
  readonly series: readonly Series[]
}

/** The router of a routed module of a layer. */
export interface RouterInfo {
  readonly layer: number
  /** `ffn`, `qkv` or `output`; in a trace, the name of the block, such as `decoder`. */
  readonly module: string
  readonly experts: number
  /** Number of prototypes. The experts of prototype z begin at z · experts / prototypes. */
  readonly prototypes: number
}

export interface RoutingIndex {
  readonly run: string
  readonly routers: readonly RouterInfo[]
  /** Largest number of experts of a router. */
  readonly experts: number
  /** Steps of the kept snapshots: all, or evenly spaced ones when there are thousands. */
  readonly steps: readonly number[]
  /** Number of snapshots in the file. */
  readonly of: number
  /**
   * Number that changes when kept snapshots change their index: some were thinned out, the file was replaced, or the
   * server was started again.
   */
  readonly generation: number
}

/** Measures of one router at the kept snapshots; null where the file has no value. */
export interface RoutingHistory {
  readonly load_cv: readonly (number | null)[]
  readonly load_cv_kept: readonly (number | null)[]
  readonly drop_rate: readonly (number | null)[]
  /** Mean over tokens of the sum of the gates of their kept choices. */
  readonly gate_mean: readonly (number | null)[]
  /** Mean over tokens of the entropy of the router's distribution, in nats. */
  readonly gate_entropy: readonly (number | null)[]
  readonly dead_experts: readonly (number | null)[]
  readonly max_over_mean: readonly (number | null)[]
}

/**
 * Times of ranks in milliseconds: means over the last `span` kept records up to a step, without the longest tenth of
 * the steps. Lists are by rank, null where the file has no number. `compute`, `allToAll`, `allReduce` and `wait` add up
 * to the step.
 */
export interface RanksOfSteps {
  readonly run: string
  /** Steps of the kept records: all, or evenly spaced ones if there are very many. */
  readonly steps: readonly number[]
  /** Number of records in the file. */
  readonly of: number
  /** First and last step of these records, and the number of records that the means are over. */
  readonly from: number
  readonly to: number
  readonly used: number
  readonly compute: readonly (number | null)[]
  readonly allToAll: readonly (number | null)[]
  readonly allReduce: readonly (number | null)[]
  readonly wait: readonly (number | null)[]
  /** Mean over the other ranks of the time that they wait for this one. */
  readonly waitedFor: readonly (number | null)[]
  /** Ratio of the time of computing to the median of the other ranks. */
  readonly computeOverOthers: readonly number[]
  /** Assignments that the experts of the rank computed; null if every rank has all experts. */
  readonly kept: readonly (number | null)[]
  /** Host and process of each rank; empty if unknown. */
  readonly roster: readonly { readonly host: string; readonly pid: number }[]
}

export interface DocumentList {
  /** Held-out documents in order; for a trace, its steps. */
  readonly documents: readonly { readonly index: number; readonly title: string; readonly characters: number }[]
}

export type TraceRequest =
  | { readonly run: string; readonly text: string }
  | { readonly run: string; readonly document: number }

/** The experts of every token of a text, without a capacity limit, as in generation; for a trace, as recorded. */
export interface TokenTrace {
  readonly run: string
  /** Step of the checkpoint. */
  readonly step: number
  /** Cross-entropy in nats per token; null for a trace. */
  readonly loss: number | null
  /** Text of each token; empty strings for a trace, which holds no text. */
  readonly tokens: readonly string[]
  /** Whether the text was longer than the limit. */
  readonly cut: boolean
  readonly routers: readonly TokenRouter[]
}

export interface TokenRouter extends RouterInfo {
  /** Number of choices per token; the choices of a prototype are adjacent. */
  readonly choices: number
  /** Experts and gates, of shape [tokens][choices]. `gate` is null if gates are unknown. */
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

/** Body of a response with a status of 4xx or 5xx. */
export interface Problem {
  readonly problem: string
}
