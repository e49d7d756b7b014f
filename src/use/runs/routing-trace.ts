/** Traces the routing of a run's newest checkpoint over a sample of its text. */

import { Cleanup } from '../../core/cleanup.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { randomFor, shuffle } from '../../core/random.ts'
import { openRunData } from '../../node/run/session.ts'
import type { Dataset, HeldOutDocument } from '../../train/data/dataset.ts'
import { sampleWindows } from '../../train/data/document-windows.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { type CompiledTracer, compileTracer, type SparseConfig } from '../infer/compiled-tracer.ts'
import type { BatchTrace } from '../infer/routing-tracer.ts'
import { loadModel, type ModelChoice, type RuntimeOverrides } from './trained-model.ts'

export interface RoutingTraceOptions extends RuntimeOverrides {
  /** Text to sample; default: the text of the run. All its documents are sampled, including training documents. */
  readonly source?: string | readonly string[]
  /** Maximum number of tokens. Default 200,000. */
  readonly tokens?: number
  /** Maximum number of tokens per document. Default: documents share `tokens` evenly. */
  readonly perDocument?: number
  readonly onMessage?: OnMessage
}

export interface RoutingTrace {
  readonly config: SparseConfig
  readonly tokenizer: Tokenizer
  /** Step of the checkpoint. */
  readonly step: number
  readonly source: string
  /** Documents to which the index `document` of windows and tokens refers. */
  readonly documents: readonly HeldOutDocument[]
  /** Number of tokens in all batches, without filler. */
  readonly tokens: number
  /** Traces windows in a seeded order: a batch from one document would overflow the experts that the text prefers. */
  batches(): AsyncGenerator<BatchTrace, void>
  close(): Promise<void>
}

/** A compiled tracer with a model of its own, which `close` releases. */
export interface OpenTracer extends CompiledTracer {
  close(): Promise<void>
}

/**
 * Loads a checkpoint and compiles its tracer; the caller must close it.
 * @param capacity Capacity rule of the routing.
 * @throws UsageError if there is no run or no checkpoint, or the model is dense
 */
export async function openTracer(
  directory: string,
  capacity: CapacityRule,
  choice: ModelChoice,
  onMessage: OnMessage,
): Promise<OpenTracer> {
  const trained = await loadModel(directory, choice, onMessage)
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
 * Opens a routing trace at the evaluation capacity, over an even sample of the whole text; the caller must close it.
 * @throws UsageError if there is no run or no checkpoint, or the model is dense
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
      {
        directory,
        tokenizer,
        onProgress: (message) => onMessage({ kind: 'prepare', message }),
        onNotice: (message) => onMessage({ kind: 'notice', message }),
        holdOutAll: true,
      },
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
