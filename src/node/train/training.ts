/** A training in a run directory, as its steps share it, and the end of waits for work that cannot be stopped. */
import { Cleanup } from '../../core/cleanup.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { TrainEvent } from '../../train/loop/events.ts'
import type { RunDirectory } from '../run/run-directory.ts'
import type { TrainOptions } from './options.ts'

/** Error if work was left to end by itself, since a training was asked to stop before its first step. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned'
}

export class Training {
  readonly config: RunConfig
  readonly options: TrainOptions
  readonly ranks: Ranks | null
  readonly emit: (event: TrainEvent) => void
  /**
   * Signal that abandons work before the first step. Ranks wait for each other, so none abandons work: they stop
   * together, before the first step.
   */
  readonly abandoning: AbortSignal | undefined
  /** What is closed in the end: the runtime last, because closing it waits until nothing is compiled any more. */
  readonly cleanup = new Cleanup()
  /** Files of the run; null until they are open, and on all ranks but the first. */
  files: RunDirectory | null = null
  runtime: Runtime | null = null
  private hasAbandoned = false

  constructor(config: RunConfig, options: TrainOptions) {
    this.config = config
    this.options = options
    this.ranks = options.ranks ?? null
    this.emit = options.onEvent ?? (() => {})
    this.abandoning = this.ranks ? undefined : options.signal
    this.cleanup.defer(async () => {
      const closed = this.runtime?.close()
      if (this.hasAbandoned) void closed?.catch(() => {})
      else await closed
    })
    this.cleanup.defer(() => this.files?.close())
  }

  readonly warn = (message: string): void => this.emit({ kind: 'warning', message })

  /** The result of the work. @throws Abandoned as soon as the training is asked to stop; the work then ends by itself. */
  unlessAborted<T>(work: Promise<T>): Promise<T> {
    const signal = this.abandoning
    if (!signal) return work
    return new Promise((resolve, reject) => {
      const abandon = () => {
        this.hasAbandoned = true
        reject(new Abandoned('the training was asked to stop'))
      }
      if (signal.aborted) abandon()
      signal.addEventListener('abort', abandon, { once: true })
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon))
    })
  }
}
