/** A model, compiled to trace the routing of text. */
import { type RunConfig, sequencesOfPass } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { LiveModel } from './live-model.ts'
import { RoutingTracer, type TracerOptions } from './routing-tracer.ts'

/** Configuration of a run whose model has experts. */
export type SparseConfig = RunConfig & { readonly model: { readonly moe: MoeConfig } }

/** A model, compiled to trace text. */
export interface CompiledTracer {
  readonly config: SparseConfig
  readonly tokenizer: Tokenizer
  /** Number of steps that the model had been trained. */
  readonly step: number
  readonly tracer: RoutingTracer
  /** Sequences per pass of the tracer. */
  readonly batch: number
}

/**
 * The compiled tracer of a model; the caller must release it.
 * @throws UsageError if the model is dense
 */
export async function compileTracer(
  { runtime, config, tokenizer, store, step }: LiveModel,
  capacity: CapacityRule,
  options: Pick<TracerOptions, 'entropy' | 'replay'> = {},
): Promise<CompiledTracer> {
  if (!isSparse(config))
    throw new UsageError('invalid run: it trains a dense model, which routes nothing (model.moe is null)')
  const { seed } = config.train
  const batch = sequencesOfPass(config)
  const separator = separatorOf(config.data, tokenizer)
  const all = { batch, seed, capacity, separator, ...options }
  const tracer = await RoutingTracer.compile(runtime, config.model, store, all)
  return { config, tokenizer, step, tracer, batch }
}

const isSparse = (config: RunConfig): config is SparseConfig => config.model.moe !== null
