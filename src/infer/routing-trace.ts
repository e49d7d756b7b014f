/** The routing of a run's newest checkpoint over a sample of its text: from a run directory to a trace. */
import type { RunConfig } from '../config/run-config.ts'
import type { Dataset, HeldOutDocument } from '../data/dataset.ts'
import { sampleWindows } from '../data/document-windows.ts'
import type { Tokenizer } from '../data/tokenizer/tokenizer.ts'
import { UsageError } from '../errors.ts'
import type { MoeConfig } from '../model/config.ts'
import type { CapacityRule } from '../model/routing/contract.ts'
import type { OnMessage } from '../run/messages.ts'
import { openRunData } from '../run/session.ts'
import { randomFor, shuffle } from '../step/random.ts'
import { Cleanup } from '../system/cleanup.ts'
import { type BatchTrace, RoutingTracer } from './routing-tracer.ts'
import { loadModel, type RuntimeOverrides, type TrainedModel } from './trained-model.ts'

export interface RoutingTraceOptions extends RuntimeOverrides {
  /** Other text than the run's. All of its documents are looked at, also those that were trained on. */
  readonly source?: string | readonly string[]
  /** Tokens to look at, at most. Default 200,000. */
  readonly tokens?: number
  /** Tokens of a single document, at most. Default: documents share `tokens` evenly. */
  readonly perDocument?: number
  readonly onMessage?: OnMessage
}

export interface RoutingTrace {
  readonly config: RunConfig & { readonly model: { readonly moe: MoeConfig } }
  readonly tokenizer: Tokenizer
  /** Step of the checkpoint. */
  readonly step: number
  readonly source: string
  /** What the `document` of windows and tokens points into. */
  readonly documents: readonly HeldOutDocument[]
  /** Tokens in all batches, filler left out. */
  readonly tokens: number
  /** Windows come in a seeded order: a batch of one document would overflow what experts it likes. */
  batches(): AsyncGenerator<BatchTrace, void>
  close(): Promise<void>
}

/** A trained model, compiled to trace text. */
export interface CompiledTracer {
  readonly config: RoutingTrace['config']
  readonly tokenizer: Tokenizer
  /** Step of the checkpoint. */
  readonly step: number
  readonly tracer: RoutingTracer
  /** Sequences that the tracer takes at a time. */
  readonly batch: number
}

/** The same with a model of its own. */
export interface OpenTracer extends CompiledTracer {
  close(): Promise<void>
}

/**
 * Loads and compiles; close it in the end.
 * @param capacity The rule under which it routes.
 * @throws UsageError when there is no run or no checkpoint, or the model is dense
 */
export async function openTracer(
  directory: string,
  capacity: CapacityRule,
  engine: RuntimeOverrides,
  onMessage: OnMessage,
): Promise<OpenTracer> {
  const trained = await loadModel(directory, engine, onMessage)
  const cleanup = new Cleanup()
  cleanup.defer(() => trained.close())
  try {
    const { notice } = trained.runtime
    if (notice !== undefined) onMessage({ kind: 'notice', message: notice })
    const compiled = await compileTracer(trained, capacity)
    cleanup.defer(() => compiled.tracer.release())
    return { ...compiled, close: () => cleanup.run() }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

/**
 * The tracer of a loaded model, compiled; release it in the end.
 * @throws UsageError when the model is dense
 */
export async function compileTracer(
  { directory, runtime, config, tokenizer, store, step }: TrainedModel,
  capacity: CapacityRule,
): Promise<CompiledTracer> {
  if (!isSparse(config))
    throw new UsageError(`invalid run: "${directory}" trained a dense model, which routes nothing (model.moe is null)`)
  const { microBatches, seed } = config.train
  const batch = config.train.batch / microBatches
  const tracer = await RoutingTracer.compile(runtime, config.model, store, batch, seed, capacity)
  return { config, tokenizer, step, tracer, batch }
}

/**
 * The routing of a run's newest checkpoint at the evaluation capacity, over an even sample of its whole text; close it in the end.
 * @throws UsageError when there is no run or no checkpoint, or the model is dense
 */
export async function openRoutingTrace(directory: string, options: RoutingTraceOptions = {}): Promise<RoutingTrace> {
  const onMessage = options.onMessage ?? (() => {})
  const { config, tokenizer, step, tracer, close } = await openTracer(directory, 'eval', options, onMessage)
  const source = options.source ?? config.data.source
  const cleanup = new Cleanup()
  cleanup.defer(close)
  try {
    const data = await openRunData(
      { ...config, data: { ...config.data, source: typeof source === 'string' ? source : [...source] } },
      { tokenizer, say: (message) => onMessage({ kind: 'prepare', message }), whole: true },
    )
    cleanup.defer(() => data.close())
    const { documents, windows } = await sample(data, config, options)
    return {
      config,
      tokenizer,
      step,
      source: typeof source === 'string' ? source : source.join(', '),
      documents,
      tokens: windows.reduce((sum, { length }) => sum + length, 0),
      batches: () => tracer.trace(data.heldOut, windows),
      close: () => cleanup.run(),
    }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

const isSparse = (config: RunConfig): config is RoutingTrace['config'] => config.model.moe !== null

async function sample(data: Dataset, { model, train }: RunConfig, options: RoutingTraceOptions) {
  const { documents, windows } = await sampleWindows(data, {
    sequence: model.sequence,
    tokens: options.tokens ?? 200_000,
    ...(options.perDocument !== undefined && { perDocument: options.perDocument }),
  })
  const order = [...windows]
  shuffle(order, randomFor(train.seed, 'trace', 'order'))
  return { documents, windows: order }
}
