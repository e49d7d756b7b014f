/**
 * How fast one stream of text is generated, with random weights.
 *
 *   npx tsx bench/generate.ts [--shape M] [--set model.moe.k=2 ...] [--prompt 128] [--tokens 100]
 *
 * A token reads every weight that is active for it once, and does little else: the bound is the bytes
 * of the active weights over the speed at which this machine reads memory in a matrix-vector product.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { input, matmul, toOnnx } from '../src/graph/index.ts'
import { describeModel } from '../src/model/describe.ts'
import { parameterSpecs } from '../src/model/parameters.ts'
import { createArena, type Runtime } from '../src/runtime/index.ts'
import type { RunConfig } from '../src/train/config.ts'
import { Generator } from '../src/train/generation.ts'
import { initialize } from '../src/train/initialize.ts'
import { loadConfig } from '../src/train/load-config.ts'
import { randomFor } from '../src/train/random.ts'
import { openRuntime } from '../src/train/session.ts'
import { median } from '../src/train/statistics.ts'
import { ParameterStore } from '../src/train/store.ts'

export interface GenerationOptions {
  /** Tokens of the prompt; default half of the model's sequence. */
  readonly prompt?: number
  /** Tokens that are timed after it; default as many as fit behind the prompt. */
  readonly tokens?: number
  /** How often the text is begun; medians are over all of them. */
  readonly texts?: number
}

export interface GenerationResult {
  readonly tokensPerSecond: number
  /** From one token to the next, sampling included: median. */
  readonly tokenMs: number
  /** The pass over the prompt, up to its first token: median of the texts but the first. */
  readonly prefillMs: number
  /** The same for the first text, which compiles the programs. */
  readonly firstMs: number
  /** Of the weights that a token reads. */
  readonly activeBytes: number
  /** What the machine reads of a large matrix in a product with a vector, bytes a second. */
  readonly bandwidth: number
  readonly threads: number
}

export async function measureGeneration(
  config: RunConfig,
  { prompt = config.model.sequence / 2, tokens = config.model.sequence - prompt, texts = 4 }: GenerationOptions = {},
): Promise<GenerationResult> {
  const { model, train } = config
  const store = new ParameterStore(parameterSpecs(model), null)
  await initialize(store, train.seed, train.init.scale)
  const runtime = await openRuntime(config)
  const bandwidth = await measureBandwidth(runtime)
  const generator = new Generator(runtime, model, store)
  const random = randomFor(train.seed, 'benchmark')
  const sampling = { temperature: 0.8, topK: 40, topP: 0.95 }
  const firsts: number[] = []
  const others: number[] = []
  for (let text = 0; text < texts; text++) {
    const begin = Array.from({ length: prompt }, () => random.integer(model.vocabulary))
    let before = performance.now()
    let count = 0
    for await (const _ of generator.tokens(begin, model.vocabulary, sampling, text)) {
      const now = performance.now()
      // The second token of the first text compiles.
      if (count === 0) firsts.push(now - before)
      else if (count > 1 || text > 0) others.push(now - before)
      before = now
      if (++count > tokens) break
    }
  }
  generator.release()
  await runtime.close()
  const { activeParameters } = describeModel(model)
  const lookups = model.tied ? 0 : model.vocabulary * model.width
  const tokenMs = median(others)
  return {
    tokensPerSecond: 1000 / tokenMs,
    tokenMs,
    prefillMs: median(firsts.slice(1)),
    firstMs: firsts[0] as number,
    activeBytes: 4 * (activeParameters - lookups),
    bandwidth,
    threads: runtime.threads,
  }
}

/** Bytes a second of the best of a few products of a vector with a matrix of 256 MiB. */
async function measureBandwidth(runtime: Runtime): Promise<number> {
  const [rows, columns] = [4096, 16384]
  const w = createArena(rows * columns * 4)
    .floats(0, rows * columns)
    .fill(1)
  const y = matmul(input('x', 'float32', [1, rows]), input('w', 'float32', [rows, columns]))
  const executable = await runtime.compile(toOnnx({ outputs: { y } }))
  const binding = executable.bind({ x: new Float32Array(rows), w, y: new Float32Array(columns) })
  let best = Infinity
  for (let i = 0; i < 8; i++) {
    const start = performance.now()
    await binding.run()
    best = Math.min(best, performance.now() - start)
  }
  binding.release()
  executable.release()
  return w.byteLength / (best / 1000)
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      shape: { type: 'string', default: 'S' },
      set: { type: 'string', multiple: true, default: [] },
      threads: { type: 'string' },
      prompt: { type: 'string' },
      tokens: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const sets = flags.threads === undefined ? flags.set : [...flags.set, `runtime.threads=${flags.threads}`]
  const result = await measureGeneration(await loadConfig(flags.shape, sets), {
    ...(flags.prompt !== undefined && { prompt: Number(flags.prompt) }),
    ...(flags.tokens !== undefined && { tokens: Number(flags.tokens) }),
  })
  process.stdout.write(flags.json ? `${JSON.stringify(result)}\n` : report(flags.shape, result))
}

function report(shape: string, result: GenerationResult): string {
  const { tokensPerSecond, tokenMs, prefillMs, firstMs, activeBytes, bandwidth, threads } = result
  const bound = bandwidth / activeBytes
  return `
  shape ${shape}, ${threads} ${threads === 1 ? 'thread' : 'threads'}
  ${tokensPerSecond.toFixed(0)} tokens/s, ${tokenMs.toFixed(2)} ms a token
  bound ${bound.toFixed(0)} tokens/s: ${(activeBytes / 1e6).toFixed(1)} MB of active weights at ${(bandwidth / 1e9).toFixed(1)} GB/s
  prompt ${prefillMs.toFixed(1)} ms (${firstMs.toFixed(0)} ms the first time, with compilation)
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
