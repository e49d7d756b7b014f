/** The class of a trained model, which evaluates, scores and generates text, and reports the routing of texts. */
import { z } from 'zod'
import { abortSignal, callback, checkOptions, expectPath } from '../../core/config/options.ts'
import { frozen } from '../../core/config/plain.ts'
import { formatValue } from '../../core/config/problems.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { capacityRules } from '../../core/model/routing/contract.ts'
import { rowFormats } from '../../node/routes/files.ts'
import type { RoutesHeader } from '../../node/routes/format.ts'
import { type RecordOptions, recordModel } from '../../tools/routes/record-routes.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import type { EvalRecord } from '../../train/step/metrics/records.ts'
import { compileTracer } from '../../use/infer/compiled-tracer.ts'
import type { TextEnd } from '../../use/infer/continue-text.ts'
import { tokenScratch } from '../../use/infer/generation/token-memory.ts'
import { weightFormats } from '../../use/infer/quantized/weight-format.ts'
import { type Scorable, scorable } from '../../use/infer/scoring/scorable.ts'
import { type ScoreOf, type ScoreOptions, scoreFields, scoreItems } from '../../use/infer/scoring/score.ts'
import { Scorer } from '../../use/infer/scoring/scorer.ts'
import { expectText, routingOf, type TextRouting } from '../../use/infer/text-routing.ts'
import { textOptions, type WritingOptions } from '../../use/infer/writing-options.ts'
import { expectMessages } from '../../use/runs/chat/render.ts'
import { type EvaluateOptions, evaluateModel } from '../../use/runs/evaluate.ts'
import { type Prompt, write } from '../../use/runs/generate.ts'
import { loadModel, type ModelChoice, type TrainedModel } from '../../use/runs/trained-model.ts'
import { eitherSignal, listening } from './listening.ts'

export interface LoadOptions extends ModelChoice {
  /** Called with warnings, such as a damaged checkpoint that was skipped. */
  readonly onMessage?: OnMessage
  /** When it is aborted, loading ends with its reason: at once for a model of another library. */
  readonly signal?: AbortSignal
}

export type EvaluationOptions = Omit<EvaluateOptions, keyof ModelChoice>

const choiceFields = {
  device: z.enum(['cpu', 'webgpu']).optional(),
  threads: z.int().positive().optional(),
  math: z.enum(['float32', 'bf16', 'f16']).optional(),
  checkpoint: z.int().nonnegative().optional(),
  weights: z.enum(weightFormats).optional(),
  copy: z.boolean().optional(),
}

const evaluationFields = {
  source: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  batches: z.int().positive().optional(),
  capacity: z.enum(capacityRules).optional(),
  byDocument: z.boolean().optional(),
}

const recordFields = {
  out: z.string(),
  source: evaluationFields.source,
  tokens: z.int().positive().optional(),
  capacity: evaluationFields.capacity,
  format: z.enum(rowFormats).optional(),
  ablate: z.int().positive().optional(),
  replay: z.string().min(1).optional(),
}

/** A trained model in memory: a checkpoint of a run, by default the newest. Call `close` in the end. */
export class Run {
  private readonly trained: TrainedModel
  /** Aborted when the run is closed, which ends its texts. */
  private readonly closed = new AbortController()
  /** Calls that compute with the model now; `close` waits for them. */
  private readonly uses = new Set<Promise<unknown>>()
  private closing: Promise<void> | undefined

  private constructor(model: TrainedModel) {
    this.trained = { ...model, config: frozen(model.config) }
  }

  /**
   * Loads a checkpoint of a run, by default the newest one that is intact, or a model of another library as it is.
   * @param directory Directory of a run, as `train` leaves it, a folder in Hugging Face's layout, or a GGUF file.
   * @throws UsageError when there is no run or no such checkpoint, or an option is wrong; RunError when the files of
   * the run are damaged
   */
  static async load(directory: string, options: LoadOptions = {}): Promise<Run> {
    expectPath('directory', directory, 'that of a run')
    checkOptions('options of Run.load', options, choiceFields, { onMessage: callback, signal: abortSignal })
    let model: TrainedModel | undefined
    try {
      return await listening(options.onMessage, async (onMessage) => {
        model = await loadModel(directory, options, onMessage, tokenScratch)
        return new Run(model)
      })
    } catch (error) {
      await model?.close()
      throw error
    }
  }

  private get model(): TrainedModel {
    if (this.closing) throw new UsageError('this run is closed (load it again)')
    return this.trained
  }

  get config(): RunConfig {
    return this.model.config
  }

  get tokenizer(): Tokenizer {
    return this.model.tokenizer
  }

  /** Step of the checkpoint. */
  get step(): number {
    return this.model.step
  }

  /**
   * Measures the loss, in nats a token, on the text that the run held out, or on any other text, under every capacity
   * rule.
   * @throws UsageError when an option is wrong, the run is closed, or `source` is missing for an imported run, which
   * has no held-out text
   */
  async evaluate(options: EvaluationOptions = {}): Promise<EvalRecord> {
    checkOptions('options of evaluate', options, evaluationFields, { onMessage: callback, signal: abortSignal })
    const { model } = this
    return this.use(() => listening(options.onMessage, (onMessage) => evaluateModel(model, { ...options, onMessage })))
  }

  /**
   * Computes the log-probability, in nats, of each token of texts, of continuations of a context, or of choices. Results
   * are in the order of `texts`; a result does not depend on the other texts, up to float32 rounding. Experts have no
   * capacity limit, as in generation.
   *
   * A continuation is tokenized as in lm-evaluation-harness (`_encode_pair` in `lm_eval/api/model.py`): its tokens are
   * those of context and continuation together after the first n, where n is the number of tokens of the context alone;
   * white space at the end of the context belongs to the continuation.
   * @param texts Each is a string or `{ text }`, `{ context, continuation }`, or `{ context, choices }`.
   * @throws UsageError when an item or an option is wrong, the run is closed, or its router sees later tokens; the
   * reason of `signal` when it is aborted
   */
  async score<const Items extends readonly Scorable[]>(
    texts: Items,
    options: ScoreOptions = {},
  ): Promise<{ -readonly [I in keyof Items]: ScoreOf<Items[I]> }> {
    checkOptions('options of score', options, scoreFields, { signal: abortSignal })
    if (!Array.isArray(texts)) throw new UsageError(`invalid texts: ${formatValue(texts)} (expected a list)`)
    const items = Array.from(texts, (text, i) => scorable(text, `texts[${i}]`))
    const { model } = this
    return this.use(async () => {
      const scorer = new Scorer(model)
      try {
        return (await scoreItems(scorer, items, options)) as { -readonly [I in keyof Items]: ScoreOf<Items[I]> }
      } finally {
        scorer.release()
      }
    })
  }

  /**
   * Generates text that continues the prompt, piece by piece. The generator returns how the text ended. {@link close}
   * ends it with the reason `interrupted`.
   * @param prompt A text, or the messages of a chat, which an imported chat model answers by its chat template.
   * @throws UsageError when an option is out of range, the run is closed, or the prompt is a chat and the model has no
   * chat template
   */
  generate(prompt: Prompt = '', options: WritingOptions = {}): AsyncGenerator<string, TextEnd> {
    const { model } = this
    const isChat = typeof prompt === 'object'
    if (isChat) expectMessages(prompt)
    const { prompt: text, ...checked } = textOptions(isChat ? '' : prompt, options)
    const signal = eitherSignal(checked.signal, this.closed.signal)
    return this.pieces(write(model, isChat ? prompt : text, { ...checked, signal }))
  }

  private async *pieces(text: AsyncGenerator<string, TextEnd>): AsyncGenerator<string, TextEnd> {
    try {
      for (;;) {
        const { done, value } = await this.use(() => text.next())
        if (done) return value
        yield value
      }
    } finally {
      // Ends the text if its reader stopped early; the result is unused then.
      await text.return({ reason: 'interrupted', tokens: 0, seconds: 0 })
    }
  }

  /**
   * Computes the experts of every token of a text, without a capacity limit, as in generation.
   * @throws UsageError when the model is dense, the text is empty, or the run is closed
   */
  async routing(text: string): Promise<TextRouting> {
    expectText(text)
    const { model } = this
    return this.use(async () => {
      const compiled = await compileTracer(model, 'none')
      try {
        return await routingOf(compiled, text)
      } finally {
        compiled.tracer.release()
      }
    })
  }

  /**
   * Records the routes of a text: the experts of every token, with their gates, as files in a new folder. The text is by
   * default the one that the run held out, and is read as {@link evaluate} reads it.
   * @returns The description of the record; {@link readRoutes} reads its rows.
   * @throws UsageError when the model is dense, the folder is not free, an option is wrong, the run is closed, or
   * `source` is missing for an imported run; the reason of `signal` when it is aborted. Then nothing is left behind.
   */
  async recordRoutes(options: RecordOptions): Promise<RoutesHeader> {
    checkOptions('options of recordRoutes', options, recordFields, { signal: abortSignal, onMessage: callback })
    expectPath('out', options.out, 'a new folder for the record')
    const { model } = this
    return this.use(() =>
      listening(options.onMessage, (onMessage, failed) =>
        recordModel(model, { ...options, onMessage, signal: eitherSignal(options.signal, failed) }),
      ),
    )
  }

  /**
   * Frees the memory of the model. Evaluations, scores and routings under way are completed first. Texts end with the reason
   * `interrupted`: after the token that is being computed or, if nobody is reading, when they are read again.
   * Idempotent.
   */
  close(): Promise<void> {
    this.closing ??= this.release()
    return this.closing
  }

  private async release(): Promise<void> {
    this.closed.abort()
    await Promise.allSettled(this.uses)
    await this.trained.close()
  }

  private async use<T>(work: () => Promise<T>): Promise<T> {
    const result = work()
    this.uses.add(result)
    try {
      return await result
    } finally {
      this.uses.delete(result)
    }
  }
}
