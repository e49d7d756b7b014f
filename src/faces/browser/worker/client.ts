/** The page's side of the connection: an object that runs a training in a worker. */
import { RunError } from '../../../core/errors.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import type { TextEnd } from '../../../use/infer/continue-text.ts'
import type { TextRouting } from '../../../use/infer/text-routing.ts'
import type { WritingOptions } from '../../../use/infer/writing-options.ts'
import type { PreparedText } from '../prepared-text.ts'
import type { TrainingEvent } from '../run-training.ts'
import {
  type CommandName,
  type FromWorker,
  type ImportInput,
  type InputOf,
  type OpenedTraining,
  type OpenInput,
  type OutputOf,
  type PrepareInput,
  type Request,
  type ResumeInput,
  receiveError,
} from './messages.ts'

/** A `Worker` that runs `choir/web/worker`. */
export interface WorkerPort {
  postMessage(message: unknown): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  addEventListener(type: 'error', listener: (event: { readonly message?: string }) => void): void
  terminate?(): void
}

interface Waiting {
  resolve(output: OutputOf<CommandName>): void
  reject(error: Error): void
  piece?(text: string): void
}

export class TrainingWorker {
  private readonly worker: WorkerPort
  private readonly waiting = new Map<number, Waiting>()
  private requests = 0
  private failure: Error | undefined

  /** @param onEvent Receives the messages of the preparation, and all events while training runs. */
  constructor(worker: WorkerPort, onEvent: (event: TrainingEvent) => void = () => {}) {
    this.worker = worker
    worker.addEventListener('message', ({ data }) => {
      const message = data as FromWorker
      if (message.kind === 'event') onEvent(message.event)
      else this.receive(message)
    })
    // The script of the worker cannot be loaded, or it failed outside of a request.
    worker.addEventListener('error', ({ message }) => {
      this.failure = new RunError(`the worker of the training failed: ${message || 'its script cannot be loaded'}`)
      for (const { reject } of this.waiting.values()) reject(this.failure)
      this.waiting.clear()
    })
  }

  /** Tokenizes a text once, for {@link open} in this worker and in others. @throws UsageError */
  prepare(input: PrepareInput): Promise<PreparedText> {
    return this.request('prepare', input)
  }

  /** Starts a training, which {@link run} then runs. @throws UsageError, RuntimeError */
  open(input: OpenInput): Promise<OpenedTraining> {
    return this.request('open', input)
  }

  /** Continues a run from a zip file. @throws UsageError, RuntimeError */
  import(input: ImportInput): Promise<OpenedTraining> {
    return this.request('import', input)
  }

  /** Continues the run in a store; null if there is none. @throws UsageError, RuntimeError */
  resume(input: ResumeInput): Promise<OpenedTraining | null> {
    return this.request('resume', input)
  }

  /**
   * Trains. Resolves to the number of steps done, after the last step or when paused.
   * @throws RunError if the loss stays non-finite or the run cannot be stored; RuntimeError if the GPU fails
   */
  run(): Promise<number> {
    return this.request('run', null)
  }

  /** Pauses the training. Resolves when the step under way is done and the run is stored. */
  async pause(): Promise<void> {
    await this.request('pause', null)
  }

  /**
   * Sets the last step that training may do before it waits, also while it runs: two workers that are allowed one step
   * more than the other has done train in step. Without a limit (null, as at first), training does not wait.
   */
  async allow(step: number | null): Promise<void> {
    await this.request('allow', step)
  }

  evaluate(): Promise<EvalRecord> {
    return this.request('evaluate', null)
  }

  /** Text that continues the prompt, piece by piece, while training goes on; the generator returns how it ended. */
  async *generate(prompt = '', { signal, ...options }: WritingOptions = {}): AsyncGenerator<string, TextEnd> {
    const pieces: string[] = []
    let wake = () => {}
    let isDone = false
    const id = this.requests + 1
    const written = this.request('generate', { prompt, options }, (text) => {
      pieces.push(text)
      wake()
    }).finally(() => {
      isDone = true
      wake()
    })
    // If the reader stops early, nothing awaits the text, and its failure must not count as unhandled.
    written.catch(() => undefined)
    const stop = () => void this.request('stop', id).catch(() => undefined)
    signal?.addEventListener('abort', stop, { once: true })
    try {
      while (!isDone || pieces.length > 0) {
        if (pieces.length === 0)
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        for (const piece of pieces.splice(0)) yield piece
      }
      return await written
    } finally {
      signal?.removeEventListener('abort', stop)
      if (!isDone) stop()
    }
  }

  /** The experts of every token of a text. */
  trace(text: string): Promise<TextRouting> {
    return this.request('trace', text)
  }

  /** Saves the run in its store. */
  async checkpoint(): Promise<void> {
    await this.request('checkpoint', null)
  }

  /** A zip file of the run directory. */
  export(): Promise<Uint8Array> {
    return this.request('export', null)
  }

  /** Ends the training after the step under way, and then the worker. */
  async close(): Promise<void> {
    await this.request('close', null)
    this.worker.terminate?.()
  }

  private request<Name extends CommandName>(
    command: Name,
    input: InputOf<Name>,
    piece?: (text: string) => void,
  ): Promise<OutputOf<Name>> {
    if (this.failure) return Promise.reject(this.failure)
    const id = ++this.requests
    const answer = new Promise<OutputOf<CommandName>>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, ...(piece && { piece }) })
    })
    const request: Request<Name> = { id, command, input }
    this.worker.postMessage(request)
    // A worker answers each command with the output of that command.
    return answer as Promise<OutputOf<Name>>
  }

  private receive(message: Exclude<FromWorker, { readonly kind: 'event' }>): void {
    const waiting = this.waiting.get(message.id)
    if (message.kind === 'piece') {
      waiting?.piece?.(message.text)
      return
    }
    this.waiting.delete(message.id)
    if (message.kind === 'answer') waiting?.resolve(message.output)
    else waiting?.reject(receiveError(message.error))
  }
}
