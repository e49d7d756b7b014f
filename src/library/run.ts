/** A trained model, for use: evaluate it, let it write, see its routing. */
import type { RunConfig } from '../config/run-config.ts'
import type { Tokenizer } from '../data/tokenizer/tokenizer.ts'
import { UsageError } from '../errors.ts'
import { compileTracer } from '../infer/compiled-tracer.ts'
import { continueText, type TextEnd } from '../infer/continue-text.ts'
import { type EvaluateOptions, evaluateModel } from '../infer/evaluate.ts'
import { tokenScratch } from '../infer/generation/token-decoder.ts'
import { expectText, routingOf, type TextRouting } from '../infer/text-routing.ts'
import { loadModel, type ModelChoice, type TrainedModel } from '../infer/trained-model.ts'
import { textOptions, type WritingOptions } from '../infer/writing-options.ts'
import type { OnMessage } from '../run/messages.ts'
import type { EvalRecord } from '../step/records.ts'

export interface LoadOptions extends ModelChoice {
  /** Called with warnings, such as a damaged checkpoint that was skipped. */
  readonly onMessage?: OnMessage
}

export type EvaluationOptions = Omit<EvaluateOptions, keyof ModelChoice>

/** A checkpoint of a run, the newest one by default, in memory. Close it in the end. */
export class Run {
  private readonly trained: TrainedModel
  private closed = false

  private constructor(model: TrainedModel) {
    this.trained = model
  }

  /**
   * @param directory Of a run, as `train` leaves it.
   * @throws UsageError when there is no run or no such checkpoint; RunError when its files are damaged
   */
  static async load(directory: string, options: LoadOptions = {}): Promise<Run> {
    if (typeof directory !== 'string') throw new UsageError(`invalid directory: ${directory} (expected that of a run)`)
    return new Run(await loadModel(directory, options, options.onMessage ?? (() => {}), tokenScratch))
  }

  private get model(): TrainedModel {
    if (this.closed) throw new UsageError('this run is closed (load it again)')
    return this.trained
  }

  get config(): RunConfig {
    return this.model.config
  }

  get tokenizer(): Tokenizer {
    return this.model.tokenizer
  }

  /** Of the checkpoint. */
  get step(): number {
    return this.model.step
  }

  /** The loss on the text that the run held out, or on any other, under every capacity rule. */
  evaluate(options: EvaluationOptions = {}): Promise<EvalRecord> {
    return evaluateModel(this.model, options)
  }

  /**
   * Text that continues the prompt, piece by piece; the generator returns how it ended.
   * @throws UsageError when an option is out of range
   */
  generate(prompt = '', options: WritingOptions = {}): AsyncGenerator<string, TextEnd> {
    return continueText(this.model, textOptions(prompt, options))
  }

  /**
   * The experts of every token of a text, without a capacity limit, as in generation.
   * @throws UsageError when the model is dense
   */
  async routing(text: string): Promise<TextRouting> {
    expectText(text)
    const compiled = await compileTracer(this.model, 'none')
    try {
      return await routingOf(compiled, text)
    } finally {
      compiled.tracer.release()
    }
  }

  /** Frees the memory of the model. Idempotent. */
  close(): Promise<void> {
    this.closed = true
    return this.trained.close()
  }
}
