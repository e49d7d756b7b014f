/**
 * A training that a page runs step by step, in memory: no files, no processes, no module of Node. It computes what
 * `train` (src/node/train/train.ts) computes: the same data, initial parameters, batches, records and checkpoints.
 */

import { Cleanup } from '../../core/cleanup.ts'
import { type RunConfig, sequencesOfPass } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { Batches } from '../../train/loop/batches.ts'
import { findNonFinite, nonFiniteMessage, tooManyNonFinite } from '../../train/loop/find-non-finite.ts'
import { Evaluator } from '../../train/step/evaluation.ts'
import type { EvalRecord, RoutingRecord, TrainRecord } from '../../train/step/records.ts'
import { routingRecord } from '../../train/step/statistics.ts'
import type { StepOutcome } from '../../train/step/trainer.ts'
import { type CompiledTracer, compileTracer } from '../../use/infer/compiled-tracer.ts'
import { continueText, type TextEnd } from '../../use/infer/continue-text.ts'
import type { LiveModel } from '../../use/infer/live-model.ts'
import { expectText, routingOf, type TextRouting } from '../../use/infer/text-routing.ts'
import { textOptions, type WritingOptions } from '../../use/infer/writing-options.ts'
import { writeCheckpointFiles } from './checkpoint-files.ts'
import { Exclusive } from './exclusive.ts'
import { type OpenOptions, openNew, openZip, type Parts, type RestoreOptions } from './opening.ts'
import { zipRun } from './run-files.ts'
import type { RunStore } from './storage/run-store.ts'

/** The records of a step. */
export interface StepRecords {
  /** A line of metrics.jsonl. */
  readonly record: TrainRecord
  /** Lines of routing.jsonl, one for each router. The run keeps those of every `train.routingEvery`th step. */
  readonly routing: readonly RoutingRecord[]
}

/** Returned to nobody: by a text whose reader has left. */
const left: TextEnd = { reason: 'interrupted', tokens: 0, seconds: 0 }

/** Calls may overlap: they are computed one after the other. Close it in the end. */
export class WebTraining {
  private readonly parts: Parts
  private readonly batches: Batches
  private readonly exclusive = new Exclusive()
  private readonly cleanup = new Cleanup()
  private evaluator: Evaluator | undefined
  private tracer: CompiledTracer | undefined
  private done: number
  private closing: Promise<void> | undefined

  private constructor(parts: Parts) {
    this.parts = parts
    this.batches = new Batches(parts.data, parts.config)
    this.done = parts.step
    this.cleanup.defer(() => parts.trainer.release())
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
   * Continues a run from its newest intact checkpoint.
   * @param zip Of a run directory, as {@link export} gives it.
   * @throws UsageError if it is no run, has no intact checkpoint, or its text is missing or another one
   */
  static async import(zip: Uint8Array, options: RestoreOptions): Promise<WebTraining> {
    return new WebTraining(await openZip(zip, options))
  }

  /**
   * Continues the run that {@link checkpoint} has saved in a store; null if there is none.
   * @throws UsageError as {@link import}
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
    return this.done
  }

  /** Whether all `train.steps` are done. */
  get isFinished(): boolean {
    return this.done >= this.config.train.steps
  }

  get parameters(): number {
    return this.parts.report.model.parameters
  }

  /** Parameters used for one token. */
  get activeParameters(): number {
    return this.parts.report.model.activeParameters
  }

  /** Tokens of both streams. */
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
   * @throws UsageError if all are done; RunError after `train.maxNonFinite` steps whose loss or gradient is not finite
   */
  step(): Promise<StepRecords> {
    return this.alone(async () => {
      const { config, trainer, report, state } = this.parts
      const { steps } = config.train
      if (this.isFinished) throw new UsageError(`invalid step: all are done (train.steps is ${steps})`)
      const step = this.done + 1
      this.batches.load(step)
      const started = performance.now()
      const outcome = await trainer.step(step, this.batches.of(step))
      report.step(step, outcome, performance.now() - started)
      this.done = step
      state.nonFiniteInRow = outcome.skipped ? state.nonFiniteInRow + 1 : 0
      if (outcome.skipped) await this.reportNonFinite(outcome)
      const routing = outcome.layers.map((counts) => routingRecord(step, counts))
      return { record: report.last as TrainRecord, routing }
    })
  }

  private async reportNonFinite(outcome: StepOutcome): Promise<void> {
    const { config, store, state, onMessage } = this.parts
    const message = nonFiniteMessage(this.done, outcome, await findNonFinite(store))
    onMessage({ kind: 'warning', message })
    const { maxNonFinite } = config.train
    if (state.nonFiniteInRow >= maxNonFinite) throw tooManyNonFinite(message, maxNonFinite)
  }

  /** The loss on `train.evalBatches` batches of held-out text, under every capacity rule: a line of metrics.jsonl. */
  evaluate(): Promise<EvalRecord> {
    return this.alone(async () => {
      const { runtime, config, store, data, report } = this.parts
      const { model, train } = config
      const sequences = sequencesOfPass(config)
      if (!this.evaluator) {
        const separator = separatorOf(config.data, data.tokenizer)
        const evaluator = await Evaluator.compile(runtime, model, store, sequences, train.seed, separator)
        this.cleanup.defer(() => evaluator.release())
        this.evaluator = evaluator
      }
      const batches = train.evalBatches * (train.batch / sequences)
      report.evaluated(this.done, (await this.evaluator.run(data, 'eval', batches)).evaluation)
      return report.evaluation as EvalRecord
    })
  }

  /**
   * Text that continues the prompt, piece by piece; the generator returns how it ended. Steps may be done between two pieces: then the next one is of the
   * new parameters.
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
      const { files, log, state } = this.parts
      const checkpoint = await writeCheckpointFiles(this.done, state.owned(), state.describe())
      return zipRun(new Map([...files, ...log.files(), ...checkpoint]))
    })
  }

  /**
   * Saves the run in a store, from which {@link resume} continues it.
   * @throws RunError if the browser refuses to store so much; the checkpoint before stays
   */
  async checkpoint(store: RunStore): Promise<void> {
    await store.save(await this.export())
  }

  /** Frees the memory of the training when what it computes has ended. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.exclusive.run(() => this.cleanup.run())
    return this.closing
  }

  private get model(): LiveModel {
    const { runtime, config, data, store } = this.parts
    return { runtime, config, tokenizer: data.tokenizer, store, step: this.done }
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    return this.exclusive.run(() => {
      if (this.closing) throw new UsageError('this training is closed (open it again)')
      return work()
    })
  }
}
