/**
 * All that the command line asks of the floors below, as one object: tests put a fake in its place,
 * and `choir --help` need not load ONNX Runtime, since each part is imported when first called.
 */
import type { NodeTime } from '../runtime/contract.ts'
import type { RunConfig } from '../train/config.ts'
import type { EvalRecord, TrainEvent, TrainSummary } from '../train/metrics.ts'
import { stateMemory } from './memory.ts'

export type OnEvent = (event: TrainEvent) => void

export interface TrainOptions {
  readonly directory: string
  readonly resume: boolean
  readonly preset?: string
  /** Aborted: finish the step, write a checkpoint, return with `interrupted`. */
  readonly signal?: AbortSignal
  readonly profile?: boolean
  readonly onEvent: OnEvent
}

export interface EvaluateOptions {
  readonly source?: string | string[]
  readonly threads?: number
  readonly onEvent: OnEvent
}

export interface GenerateOptions {
  readonly prompt: string
  readonly tokens: number
  readonly temperature: number
  /** 0 = all tokens. */
  readonly topK: number
  /** 1 = all tokens. */
  readonly topP: number
  readonly seed: number
  readonly threads?: number
  readonly signal?: AbortSignal
}

/** What `inspect` shows of a model. */
export interface Description {
  readonly parameters: number
  readonly activeParameters: number
  /** Forward and backward. */
  readonly flopsPerToken: number
  /** What is kept from step to step. */
  readonly memory: readonly { readonly name: string; readonly bytes: number }[]
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly parameters: number }[]
}

export interface BenchOptions {
  /** Steps that are timed, after those that warm up. */
  readonly steps: number
  readonly signal?: AbortSignal
}

/** Medians over the timed steps. */
export interface BenchResult {
  /** Measured float32 matmul rate of this machine, FLOP/s. */
  readonly peakFlops: number
  readonly parameters: number
  readonly activeParameters: number
  readonly tokensPerSecond: number
  readonly stepMs: number
  readonly gradientMs: number
  readonly updateMs: number
  readonly mfu: number
  readonly dropRate: number
}

export interface Engine {
  /** With `profile` the summary carries the time of every node. */
  train(config: RunConfig, options: TrainOptions): Promise<TrainSummary & { readonly profile?: readonly NodeTime[] }>
  evaluateRun(directory: string, options: EvaluateOptions): Promise<EvalRecord>
  generate(directory: string, options: GenerateOptions): AsyncIterable<string>
  describe(config: RunConfig): Promise<Description>
  /** Trains on random tokens in memory; writes nothing. */
  benchmark(config: RunConfig, options: BenchOptions): Promise<BenchResult>
}

export const engine: Engine = {
  async train(config, options) {
    const { train } = await import('../train/index.ts')
    return train(config, options)
  },
  async evaluateRun(directory, options) {
    const { evaluateRun } = await import('../train/index.ts')
    return evaluateRun(directory, options)
  },
  async *generate(directory, options) {
    const { generate } = await import('../train/index.ts')
    yield* generate(directory, options)
  },
  async describe(config) {
    const { describeModel } = await import('../model/describe.ts')
    const { parameters, activeParameters, flopsPerToken, tensors } = describeModel(config.model)
    const memory = stateMemory(config.train.optimizer.kind, tensors)
    return { parameters, activeParameters, flopsPerToken, memory, tensors }
  },
  async benchmark(config, options) {
    const { benchmark } = await import('../train/index.ts')
    return benchmark(config, options)
  },
}
