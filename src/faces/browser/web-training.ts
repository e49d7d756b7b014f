/**
 * A training that a page runs step by step, in memory: no files, no processes, no module of Node. It computes what
 * `train` (src/node/train/train.ts) computes, with the same core (src/train/loop/training-loop.ts): the same data,
 * initial parameters, batches, records and checkpoints. This file adds what only a page needs: calls that overlap, and
 * generated texts and the routing of texts between steps.
 */

import { Cleanup } from '../../core/cleanup.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import type { RoutingRecord } from '../../core/model/routing/statistics.ts'
import { routingRecord } from '../../core/model/routing/statistics.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { TrainingLoop } from '../../train/loop/training-loop.ts'
import type { EvalRecord, TrainRecord } from '../../train/step/metrics/records.ts'
import { type CompiledTracer, compileTracer } from '../../use/infer/compiled-tracer.ts'
import { continueText, type TextEnd } from '../../use/infer/continue-text.ts'
import type { LiveModel } from '../../use/infer/live-model.ts'
import { expectText, routingOf, type TextRouting } from '../../use/infer/text-routing.ts'
import { textOptions, type WritingOptions } from '../../use/infer/writing-options.ts'
import { writeCheckpointFiles } from './checkpoint-files.ts'
import {
  type OpenOptions,
  openNew,
  openZip,
  type Parts,
  type PrepareOptions,
  prepareNew,
  type RestoreOptions,
} from './opening.ts'
import type { PreparedText } from './prepared-text.ts'
import { type RunFiles, zipRun } from './run-files.ts'
import { Exclusive } from './storage/exclusive.ts'
import type { RunStore } from './storage/run-store.ts'

/** The records of a step. */
export interface StepRecords {
  /** A line of metrics.jsonl. */
  readonly record: TrainRecord
  /** Lines of routing.jsonl, one for each router. The run keeps the lines of every `train.routingEvery`th step. */
  readonly routing: readonly RoutingRecord[]
}

/** Result of a text whose reader stopped early; unused. */
const left: TextEnd = { reason: 'interrupted', tokens: 0, seconds: 0 }

/** A training in a page. Calls may overlap: they are computed one after the other. The caller must close it. */
export class WebTraining {
  private readonly parts: Parts
  private readonly loop: TrainingLoop<RunFiles>
  private readonly exclusive = new Exclusive()
  private readonly cleanup = new Cleanup()
  private tracer: CompiledTracer | undefined
  private closing: Promise<void> | undefined

  private constructor(parts: Parts) {
    const { ceiling, log, step, state, trainer, onMessage } = parts
    this.parts = parts
    this.loop = new TrainingLoop(parts, ceiling, step, {
      log,
      emit: (event) => event.kind === 'warning' && onMessage(event),
      save: (at) => writeCheckpointFiles(at, state.owned(), state.describe()),
    })
    this.cleanup.defer(() => trainer.release())
    this.cleanup.defer(() => this.loop.release())
  }

  /**
   * Starts a training.
   * @throws UsageError for a wrong setting, or text that is unusable or too short
   * @throws RuntimeError if the device refuses the model, for example for lack of memory
   */
  static async open(options: OpenOptions): Promise<WebTraining> {
    return new WebTraining(await openNew(options))
  }

  /**
   * Tokenizes a text once, for several trainings on it: {@link open} takes the result in place of the text.
   * @throws UsageError for a wrong setting, or text that is unusable or too short
   */
  static prepare(options: PrepareOptions): Promise<PreparedText> {
    return prepareNew(options)
  }

  /**
   * Continues a run from its newest intact checkpoint.
   * @param zip Zip file of a run directory, as {@link export} returns it.
   * @throws UsageError if it is no run, has no intact checkpoint, or its text is missing or has changed
   */
  static async import(zip: Uint8Array, options: RestoreOptions): Promise<WebTraining> {
    return new WebTraining(await openZip(zip, options))
  }

  /**
   * Continues the run that {@link checkpoint} has saved in a store; null if the store is empty.
   * @throws UsageError in the same cases as {@link import}
   */
  static async resume(store: RunStore, options: RestoreOptions): Promise<WebTraining | null> {
    const zip = await store.load()
    return zip && WebTraining.import(zip, options)
  }

  get config(): RunConfig {
    return this.parts.config
  }

  get tokenizer(): Tokenizer {
    return this.parts.data.tokenizer
  }

  /** Steps done. */
  get steps(): number {
    return this.loop.steps
  }

  /** Whether all `train.steps` are done. */
  get isFinished(): boolean {
    return this.loop.isFinished
  }

  get parameters(): number {
    return this.loop.report.model.parameters
  }

  /** Parameters used for one token. */
  get activeParameters(): number {
    return this.loop.report.model.activeParameters
  }

  /** Number of tokens for training, and of held-out tokens. */
  get tokens(): { readonly train: number; readonly heldOut: number } {
    const { train, heldOut } = this.parts.data
    return { train: train.length, heldOut: heldOut.length }
  }

  /** Lines of metrics.jsonl so far. */
  metrics(): (TrainRecord | EvalRecord)[] {
    return this.parts.log.metrics()
  }

  /** Lines of routing.jsonl so far. */
  routing(): RoutingRecord[] {
    return this.parts.log.routing()
  }

  /**
   * Does the next step.
   * @throws UsageError if all steps are done
   * @throws RunError after `train.maxNonFinite` steps whose loss or gradient is not finite
   */
  step(): Promise<StepRecords> {
    return this.alone(async () => {
      if (this.isFinished)
        throw new UsageError(`invalid step: all are done (train.steps is ${this.config.train.steps})`)
      const { record, layers } = await this.loop.step()
      return { record, routing: layers.map((counts) => routingRecord(record.step, counts)) }
    })
  }

  /** The loss on `train.evalBatches` batches of held-out text, under every capacity rule: a line of metrics.jsonl. */
  evaluate(): Promise<EvalRecord> {
    return this.alone(() => this.loop.evaluate())
  }

  /**
   * Text that continues the prompt, piece by piece; the generator returns how it ended. Steps may be done between two
   * pieces: then the new parameters generate the next piece.
   * @throws UsageError if an option is out of range
   */
  async *generate(prompt = '', options: WritingOptions = {}): AsyncGenerator<string, TextEnd> {
    const pieces = continueText(this.model, textOptions(prompt, options), true)
    try {
      for (;;) {
        const { done, value } = await this.alone(() => pieces.next())
        if (done) return value
        yield value
      }
    } finally {
      await this.exclusive.run(() => pieces.return(left))
    }
  }

  /**
   * The experts of every token of a text, without a capacity limit, as in generation.
   * @throws UsageError if the model is dense or the text is empty
   */
  async trace(text: string): Promise<TextRouting> {
    expectText(text)
    return this.alone(async () => {
      if (!this.tracer) {
        const compiled = await compileTracer(this.model, 'none')
        this.cleanup.defer(() => compiled.tracer.release())
        this.tracer = compiled
      }
      return routingOf(this.tracer, text)
    })
  }

  /**
   * A zip file of the run directory at this step, with one checkpoint. Unpacked, it can be resumed, evaluated and used
   * for generation by the commands of Choir, and by {@link import}.
   */
  export(): Promise<Uint8Array> {
    return this.alone(async () => {
      const { files, log } = this.parts
      const checkpoint = await this.loop.checkpoint()
      return zipRun(new Map([...files, ...log.files(), ...checkpoint]))
    })
  }

  /**
   * Saves the run in a store, from which {@link resume} continues it.
   * @throws RunError if the browser refuses to store so much; the run that was saved before stays
   */
  async checkpoint(store: RunStore): Promise<void> {
    await store.save(await this.export())
  }

  /** Frees the memory of the training when the calls under way have ended. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.exclusive.run(() => this.cleanup.run())
    return this.closing
  }

  private get model(): LiveModel {
    const { runtime, config, data, store } = this.parts
    return { runtime, config, tokenizer: data.tokenizer, store, step: this.steps }
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    return this.exclusive.run(() => {
      if (this.closing) throw new UsageError('this training is closed (open it again)')
      return work()
    })
  }
}
