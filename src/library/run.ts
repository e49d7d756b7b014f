/** A trained model, for use: evaluate it, let it write, see its routing. */

import { z } from 'zod'
import { parseInput } from '../config/problems.ts'
import type { RunConfig } from '../config/run-config.ts'
import type { Tokenizer } from '../data/tokenizer/tokenizer.ts'
import { UsageError } from '../errors.ts'
import { type EvaluateOptions, evaluateModel } from '../infer/evaluate.ts'
import { continueText } from '../infer/generate.ts'
import type { SamplingOptions } from '../infer/generation/sampling.ts'
import { tokenScratch } from '../infer/generation/token-decoder.ts'
import { compileTracer } from '../infer/routing-trace.ts'
import { loadModel, type RuntimeOverrides, type TrainedModel } from '../infer/trained-model.ts'
import type { OnMessage } from '../run/messages.ts'
import type { EvalRecord } from '../step/records.ts'
import { pastedText, traceText } from '../watch/tracing/text-trace.ts'

export interface LoadOptions extends RuntimeOverrides {
  /** Called with warnings, such as a damaged checkpoint that was skipped. */
  readonly onMessage?: OnMessage
}

export type EvaluationOptions = Omit<EvaluateOptions, keyof RuntimeOverrides>

/** All optional, with the defaults of `choir generate`: temperature 0.8, top-k 40, top-p 0.95, 200 tokens, seed 0. */
export interface WritingOptions extends Partial<SamplingOptions> {
  /** Tokens at most; the end of a document ends the text before. */
  readonly tokens?: number
  readonly seed?: number
  readonly signal?: AbortSignal
}

/** The experts that the tokens of a text go to. */
export interface TextRouting {
  /** The text, token by token. */
  readonly tokens: readonly string[]
  /** Mean cross-entropy of the text, nats a token. */
  readonly loss: number
  /** The text was longer than what is looked at; the rest is left out. */
  readonly truncated: boolean
  readonly routers: readonly RouterChoices[]
}

/** The choices of one router. `choices` = prototypes · k numbers a token, those of a prototype side by side. */
export interface RouterChoices {
  /** From 0. */
  readonly layer: number
  /** What has experts: the feed-forward network, or projections of attention. */
  readonly module: string
  readonly experts: number
  readonly choices: number
  /** [tokens · choices] ids of experts, 0 to experts − 1. */
  readonly expert: readonly number[]
  /** [tokens · choices] weights with which the outputs of the experts are added. */
  readonly gate: readonly number[]
}

const writingSchema = z.strictObject({
  temperature: z.number().nonnegative().default(0.8),
  topK: z.int().nonnegative().default(40),
  topP: z.number().positive().max(1).default(0.95),
  tokens: z.int().positive().default(200),
  seed: z.int().nonnegative().default(0),
})

/** A run's newest checkpoint, in memory. Close it in the end. */
export class Run {
  private readonly trained: TrainedModel
  private closed = false

  private constructor(model: TrainedModel) {
    this.trained = model
  }

  /**
   * @param directory Of a run, as `train` leaves it.
   * @throws UsageError when there is no run or no checkpoint; RunError when its files are damaged
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
   * Text that continues the prompt, piece by piece.
   * @throws UsageError when an option is out of range
   */
  generate(prompt = '', { signal, ...options }: WritingOptions = {}): AsyncGenerator<string, void> {
    const sampling = parseInput(writingSchema, options, 'options of generate')
    return continueText(this.model, { prompt, ...sampling, ...(signal && { signal }) })
  }

  /**
   * The experts of every token of a text, without a capacity limit, as in generation.
   * @throws UsageError when the model is dense
   */
  async routing(text: string): Promise<TextRouting> {
    if (text === '') throw new UsageError('invalid text: it is empty (expected at least one token)')
    const compiled = await compileTracer(this.model, 'none')
    try {
      const { tokenizer } = this.model
      const place = pastedText(await tokenizer.encode(text), tokenizer.endOfText)
      const { tokens, loss, cut, routers } = await traceText(compiled, place, false)
      return {
        tokens,
        loss,
        truncated: cut,
        routers: routers.map(({ gate, ...router }) => ({ ...router, gate: gate ?? [] })),
      }
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
