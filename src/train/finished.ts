/** Using a trained run: evaluating it on any text, and generating with it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { separatorOf, type Tokenizer, tokenizerFromJson } from '../data/index.ts'
import { UsageError } from '../errors.ts'
import { parameterSpecs } from '../model/parameters.ts'
import type { CapacityRule } from '../model/routing/contract.ts'
import type { Precision, Runtime } from '../runtime/index.ts'
import { configUnder } from './capacity-rules.ts'
import { readNewestCheckpoint } from './checkpoint/checkpoint.ts'
import { Cleanup } from './cleanup.ts'
import type { RunConfig } from './config.ts'
import { Evaluator } from './evaluation.ts'
import { tokenScratch } from './generation/token-decoder.ts'
import { Generator } from './generation.ts'
import { loadRunConfig } from './load-config.ts'
import type { EvalRecord, TrainEvent } from './metrics.ts'
import type { SamplingOptions } from './sampling.ts'
import type { State } from './saved-state.ts'
import { noticesOf, openRunData, openRuntime } from './session.ts'
import { ParameterStore } from './store.ts'

export interface TrainedModel {
  readonly config: RunConfig
  readonly tokenizer: Tokenizer
  readonly store: ParameterStore
  readonly step: number
  /** The `Dataset.hash` of what it was trained on. */
  readonly trainedOn: string
}

/** Follows what goes on. */
export type OnEvent = (event: TrainEvent) => void

/** In place of what the run was trained with. */
export interface Engine {
  readonly threads?: number
  readonly math?: Precision
}

/**
 * The newest parameters of a run that verify.
 * @param scratchOf Floats of scratch memory beside them.
 */
export async function loadModel(
  directory: string,
  { threads, math }: Engine,
  onEvent: OnEvent,
  scratchOf: (config: RunConfig['model']) => number = () => 0,
): Promise<TrainedModel> {
  const sets: string[] = []
  if (threads !== undefined) sets.push(`runtime.threads=${threads}`)
  if (math !== undefined) sets.push(`runtime.math=${math}`)
  const config = await loadRunConfig(directory, sets)
  const store = new ParameterStore(parameterSpecs(config.model), null, scratchOf(config.model))
  const model = store.parameterTensors()
  const found = await readNewestCheckpoint(join(directory, 'checkpoints'), { model }, (path, reason) =>
    onEvent({ kind: 'warning', message: `skipping checkpoint ${path}: ${reason}` }),
  )
  if (!found)
    throw new UsageError(
      `invalid run: "${directory}" has no checkpoint yet (train it, or wait for its first checkpoint)`,
    )
  const tokenizer = await tokenizerFromJson(await readFile(join(directory, 'tokenizer.json'), 'utf8'))
  return { config, tokenizer, store, step: found.step, trainedOn: (found.state as State).data }
}

export interface EvaluateOptions extends Engine {
  /** Other text than the run's: all of it is evaluated. Default: what the run held out. */
  readonly source?: string | string[]
  /** At most so many batches of it; default: all. */
  readonly batches?: number
  /** The rule that the record's loss is of. Default `none`: a text's loss does not depend on its neighbours. */
  readonly capacity?: CapacityRule
  readonly onEvent?: OnEvent
}

/** The loss of a run's newest checkpoint on held-out text, under every capacity rule. */
export async function evaluateRun(directory: string, options: EvaluateOptions = {}): Promise<EvalRecord> {
  const onEvent = options.onEvent ?? (() => {})
  const { config, tokenizer, store, step, trainedOn } = await loadModel(directory, options, onEvent)
  const { source = config.data.source, capacity = 'none' } = options
  const say = (message: string) => onEvent({ kind: 'prepare', message })
  const data = await openRunData(
    { ...config, data: { ...config.data, source } },
    { tokenizer, say, whole: options.source !== undefined },
  )
  if (options.source === undefined && data.hash !== trainedOn) {
    const message = 'the text has changed since the run was trained: what is held out now may be what it has seen'
    onEvent({ kind: 'warning', message })
  }
  const cleanup = new Cleanup()
  cleanup.defer(() => data.close())
  try {
    const runtime = await openRuntime(config)
    cleanup.defer(() => runtime.close())
    const evaluated = { ...config, model: configUnder(config.model, capacity) }
    for (const message of noticesOf(runtime, evaluated, [{ activity: 'evaluation', rule: capacity }]))
      onEvent({ kind: 'notice', message })
    const { batch, microBatches, seed } = config.train
    const separator = separatorOf(config.data, tokenizer)
    const evaluator = await Evaluator.compile(runtime, config.model, store, batch / microBatches, seed, separator)
    const { evaluation } = await evaluator.run(data, capacity, options.batches)
    evaluator.release()
    return { kind: 'eval', step, tokens: step * batch * config.model.sequence, ...evaluation }
  } finally {
    await cleanup.run()
  }
}

export interface GenerateOptions extends SamplingOptions {
  readonly prompt: string
  /** Tokens at most; the end of a document ends the text before. */
  readonly tokens: number
  readonly seed: number
  readonly threads?: number
  readonly signal?: AbortSignal
  readonly onEvent?: OnEvent
}

/** Text that continues the prompt, piece by piece. */
export async function* generate(directory: string, options: GenerateOptions): AsyncGenerator<string, void> {
  const model = await loadModel(directory, options, options.onEvent ?? (() => {}), tokenScratch)
  const runtime = await openRuntime(model.config)
  try {
    yield* continuation(runtime, model, options)
  } finally {
    await runtime.close()
  }
}

async function* continuation(
  runtime: Runtime,
  { config, tokenizer, store }: TrainedModel,
  options: GenerateOptions,
): AsyncGenerator<string, void> {
  const generator = new Generator(runtime, config.model, store)
  // A document begins after the end of another: so does a text without a prompt.
  const prompt = [tokenizer.endOfText, ...tokenizer.encode(options.prompt)]
  const text = tokenizer.stream()
  let count = 0
  for await (const token of generator.tokens(prompt, tokenizer.vocabulary, options, options.seed)) {
    if (token === tokenizer.endOfText || options.signal?.aborted) break
    const piece = text.push(token)
    if (piece) yield piece
    if (++count >= options.tokens) break
  }
  const rest = text.end()
  if (rest) yield rest
  generator.release()
}
