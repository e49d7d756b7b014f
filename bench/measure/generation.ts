/**
 * Times the generation of one text at a time, with random weights.
 *
 * A token reads each of its active weights once and does little else. The lower bound of its time is the bytes of the
 * active weights divided by the memory bandwidth of a matrix-vector product.
 */

import { median } from '../../src/core/averages.ts'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import { UsageError } from '../../src/core/errors.ts'
import { type Bits, quantizedBytes } from '../../src/core/graph/quantized-layout.ts'
import { activatedExperts } from '../../src/core/model/config/moe-config.ts'
import { describeModel } from '../../src/core/model/describe.ts'
import { parameterSpecs } from '../../src/core/model/parameters.ts'
import { quantizedParameters } from '../../src/core/model/quantized-matrices.ts'
import { randomFor } from '../../src/core/random.ts'
import { type ArenaRange, readRange } from '../../src/engine/contract/arena.ts'
import type { Runtime } from '../../src/engine/contract/runtime.ts'
import { openRuntime } from '../../src/node/run/session.ts'
import { initialize, initialScales } from '../../src/train/step/store/initialize.ts'
import { parameterTensors } from '../../src/train/step/store/named-tensors.ts'
import { ParameterStore } from '../../src/train/step/store/store.ts'
import { Generator } from '../../src/use/infer/generation/generator.ts'
import type { SamplingOptions } from '../../src/use/infer/generation/sampling.ts'
import { tokenScratch } from '../../src/use/infer/generation/token-memory.ts'
import { QuantizedStore } from '../../src/use/infer/quantized/quantized-store.ts'
import type { WeightFormat } from '../../src/use/infer/quantized/weight-format.ts'

export const greedy: SamplingOptions = { temperature: 0, topK: 0, topP: 1 }
/** The defaults of `choir generate`. */
export const sampled: SamplingOptions = { temperature: 0.8, topK: 40, topP: 0.95 }

/** Times of one text. */
export interface TimedText {
  /** Time from the start of the prompt to the first token. */
  readonly prefillMs: number
  /** Time of each later token, including its sampling. */
  readonly msPerToken: readonly number[]
}

export class GenerationBench {
  readonly runtime: Runtime
  /** Bytes of the weights that a token reads. */
  readonly activeBytes: number
  private readonly vocabulary: number
  private readonly generator: Generator

  private constructor(runtime: Runtime, config: RunConfig, generator: Generator, weights: WeightFormat) {
    const { activeParameters } = describeModel(config.model)
    const { tied, vocabulary, width } = config.model
    this.runtime = runtime
    this.activeBytes =
      4 * (activeParameters - (tied ? 0 : vocabulary * width)) -
      (weights === 'float32' ? 0 : savedBytes(config, weights === 'int4' ? 4 : 8))
    this.vocabulary = vocabulary
    this.generator = generator
  }

  static async open(config: RunConfig, weights: WeightFormat = 'float32'): Promise<GenerationBench> {
    const { runtime, store } = await randomModel(config, weights, tokenScratch(config.model))
    return new GenerationBench(runtime, config, new Generator(runtime, config.model, store), weights)
  }

  /** Generates `tokens` tokens. The first text includes compilation: do not count it. */
  async text(prompt: readonly number[], tokens: number, sampling: SamplingOptions, seed: number): Promise<TimedText> {
    const times: number[] = []
    let before = performance.now()
    for await (const _ of this.generator.tokens(prompt, this.vocabulary, sampling, seed)) {
      const now = performance.now()
      times.push(now - before)
      before = now
      if (times.length === tokens) break
    }
    const [prefillMs = Number.NaN, ...msPerToken] = times
    return { prefillMs, msPerToken }
  }

  async stop(): Promise<void> {
    this.generator.release()
    await this.runtime.close()
  }
}

/** A model with random weights of a format. @param scratch Floats of scratch memory for generation */
export async function randomModel(config: RunConfig, weights: WeightFormat, scratch: number) {
  const { model, train } = config
  const runtime = await openRuntime(config)
  const floats = new ParameterStore(runtime, parameterSpecs(model), null, scratch)
  await initialize(floats, train.seed, initialScales(config))
  const store =
    weights === 'float32' ? floats : await rounded(floats, new QuantizedStore(runtime, model, weights, scratch))
  return { runtime, store }
}

/** The store with the weights of a store of float32. */
async function rounded(floats: ParameterStore, store: QuantizedStore): Promise<QuantizedStore> {
  const weights = new Map(parameterTensors(floats).map(({ name, range }) => [name, range]))
  for (const { name, range } of store.tensors())
    await range.arena.write(range.start, await readRange(weights.get(name) as ArenaRange))
  return store
}

/** Bytes that quantized weights save a token from reading. Of the experts, only the chosen ones count, and no table. */
function savedBytes({ model }: RunConfig, bits: Bits): number {
  const chosen = (count: number) => (count > 1 && model.moe ? activatedExperts(model.moe) : 1)
  const read = quantizedParameters(model, bits).filter(({ spec }) => spec.name !== 'embedding' || model.tied)
  return read.reduce(
    (sum, { count, inner, columns, bits }) =>
      sum + chosen(count) * (4 * inner * columns - quantizedBytes(bits, inner, columns)),
    0,
  )
}

/** Speed with weights of a format, measured in turns with the other formats. */
export interface WeightsRow extends Speed {
  readonly shape: string
  readonly format: WeightFormat
  readonly threads: number
  readonly date: string
  readonly prompt: number
  readonly tokens: number
  readonly texts: number
  /** Bytes of weights that a token reads. */
  readonly activeBytes: number
  /** Memory bandwidth, bytes per second. */
  readonly bandwidth: number
  /** Tokens per second, as a share of the rate that the bandwidth allows. */
  readonly share: number
  /** Tokens per second, divided by the rate with float32 weights. */
  readonly speedup: number
}

export const weightsName = (shape: string): string => `weights-${shape}`

/** A generator of random prompts; every call of this function gives the same ones. */
export function promptsOf({ model, train }: RunConfig, length: number): () => number[] {
  const random = randomFor(train.seed, 'benchmark')
  return () => Array.from({ length }, () => random.integer(model.vocabulary))
}

export interface TextLengths {
  /** Tokens of the prompt, and tokens to generate; default 128 and 100, or fewer if the sequence is short. */
  readonly prompt?: number
  readonly tokens?: number
}

/** The lengths of a text, with defaults. @throws UsageError if they do not fit into the model's sequence */
export function lengths(
  { model: { sequence } }: { readonly model: { readonly sequence: number } },
  options: TextLengths,
) {
  const prompt = options.prompt ?? Math.min(128, Math.floor(sequence / 2))
  const tokens = options.tokens ?? Math.min(100, sequence - prompt)
  if (prompt + tokens > sequence)
    throw new UsageError(
      `invalid --prompt ${prompt} with --tokens ${tokens} (expected at most ${sequence} together, the model's sequence)`,
    )
  if (tokens < 2) throw new UsageError(`invalid --tokens: ${tokens} (expected at least 2: the prompt gives the first)`)
  return { prompt, tokens }
}

/** Medians over the tokens of all texts (except their first tokens) and over all prompts. */
export interface Speed {
  readonly tokensPerSecond: number
  readonly tokenMs: number
  readonly prefillMs: number
}

/** The speed of all texts except the first, which includes compilation. */
export function speedOf([, ...texts]: readonly TimedText[]): Speed {
  const tokenMs = median(texts.flatMap(({ msPerToken }) => msPerToken))
  return { tokensPerSecond: 1000 / tokenMs, tokenMs, prefillMs: median(texts.map(({ prefillMs }) => prefillMs)) }
}
