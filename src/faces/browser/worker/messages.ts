/**
 * Messages between a page and the worker that trains for it. The page sends requests, the worker answers each; while a
 * training runs, the worker sends its events.
 */
import type { RunConfig, RunInput } from '../../../core/config/run-config.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { RoutingRecord } from '../../../core/model/routing/statistics.ts'
import { RuntimeError } from '../../../engine/contract/runtime.ts'
import type { EvalRecord, TrainRecord } from '../../../train/step/metrics/records.ts'
import type { TextEnd } from '../../../use/infer/continue-text.ts'
import type { TextRouting } from '../../../use/infer/text-routing.ts'
import type { WritingOptions } from '../../../use/infer/writing-options.ts'
import type { PageText } from '../page-text.ts'
import type { PreparedText } from '../prepared-text.ts'
import type { TrainingEvent } from '../run-training.ts'

/** A training that is open in the worker. */
export interface OpenedTraining {
  readonly config: RunConfig
  /** Steps done. */
  readonly steps: number
  readonly parameters: number
  /** Parameters used for one token. */
  readonly activeParameters: number
  /** Number of tokens for training, and of held-out tokens. */
  readonly tokens: { readonly train: number; readonly heldOut: number }
  /** Name of the GPU. */
  readonly provider: string
  /** Records of the steps done: lines of metrics.jsonl and routing.jsonl. */
  readonly metrics: readonly (TrainRecord | EvalRecord)[]
  readonly routing: readonly RoutingRecord[]
}

interface Stored {
  /**
   * Name of the run in the storage of the browser, where it is saved every `train.checkpointEvery` steps and at the
   * end. Default: the run is not saved.
   */
  readonly store?: string
}

export interface PrepareInput {
  readonly config: RunInput
  readonly text: PageText
}

export interface OpenInput extends Stored {
  readonly config: RunInput
  readonly text: PageText | PreparedText
}

export interface ImportInput extends Stored {
  readonly zip: Uint8Array
  readonly text?: PageText
}

export interface ResumeInput {
  readonly store: string
  readonly text?: PageText
}

export interface GenerateInput {
  readonly prompt: string
  readonly options: Omit<WritingOptions, 'signal'>
}

/** Input and output of each command. */
export interface Commands {
  /** Needs no open training. */
  prepare: [PrepareInput, PreparedText]
  open: [OpenInput, OpenedTraining]
  import: [ImportInput, OpenedTraining]
  /** The output is null if nothing is stored. */
  resume: [ResumeInput, OpenedTraining | null]
  /** Answered with the number of steps done, when the training has ended or is paused. */
  run: [null, number]
  /** Answered when the step under way is done and the run is saved. */
  pause: [null, null]
  /** The last step that may begin; null for no limit. Training waits before later steps. */
  allow: [number | null, null]
  evaluate: [null, EvalRecord]
  /** Pieces of the text are sent as they are written. */
  generate: [GenerateInput, TextEnd]
  /** Ends a text. The input is the id of the request that generates it. */
  stop: [number, null]
  trace: [string, TextRouting]
  checkpoint: [null, null]
  export: [null, Uint8Array]
  close: [null, null]
}

export type CommandName = keyof Commands
export type InputOf<Name extends CommandName> = Commands[Name][0]
export type OutputOf<Name extends CommandName> = Commands[Name][1]

export interface Request<Name extends CommandName = CommandName> {
  readonly id: number
  readonly command: Name
  readonly input: InputOf<Name>
}

export type FromWorker =
  | { readonly kind: 'answer'; readonly id: number; readonly output: OutputOf<CommandName> }
  | { readonly kind: 'failure'; readonly id: number; readonly error: SentError }
  | { readonly kind: 'piece'; readonly id: number; readonly text: string }
  | { readonly kind: 'event'; readonly event: TrainingEvent }

/** An error with the name of its class, because messages do not keep classes. */
export interface SentError {
  readonly name: string
  readonly message: string
}

/** Classes in the order of their tests: a RuntimeError is a RunError too, so it comes first. */
const classes = { UsageError, RuntimeError, RunError }

export function sendError(error: unknown): SentError {
  const [name] = Object.entries(classes).find(([, Class]) => error instanceof Class) ?? ['Error']
  return { name, message: error instanceof Error ? error.message : String(error) }
}

export function receiveError({ name, message }: SentError): Error {
  const Class = Object.hasOwn(classes, name) ? classes[name as keyof typeof classes] : Error
  return new Class(message)
}

/** The page, as a worker sees it. */
export interface Port {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
}
