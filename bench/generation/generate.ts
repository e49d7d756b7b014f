/**
 * Times generation. Alone, Choir takes turns with float32, bf16, int8 and int4 weights, and speeds are also shares of the rate that
 * the memory bandwidth allows; with `--peer pytorch`, Choir alternates with PyTorch (the same as
 * `npm run bench -- --peer pytorch --generate`). `bench/generation/llama-cpp.ts` measures beside llama.cpp.
 *
 *   npx tsx bench/generation/generate.ts --shape M
 *   npx tsx bench/generation/generate.ts --set model.moe.k=2 --prompt 32 --tokens 200
 *   npx tsx bench/generation/generate.ts --peer pytorch --only top-1 --only "2 top-1 1x"
 */
import { Command, Option } from 'commander'
import { matmul } from '../../src/core/graph/ops/matmul.ts'
import { quantizedBytes } from '../../src/core/graph/quantized-layout.ts'
import { input } from '../../src/core/graph/tensor.ts'
import { fixed, percent } from '../../src/core/text/numbers.ts'
import { floatsOf } from '../../src/engine/contract/arena.ts'
import type { Runtime } from '../../src/engine/contract/runtime.ts'
import { createArena } from '../../src/engine/native/cpu-arena.ts'
import { numberOption, ranges, setOption } from '../../src/faces/cli/options.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { roundMatrix } from '../../src/use/infer/quantized/round-matrix.ts'
import { bitsOf, type WeightFormat, weightFormats } from '../../src/use/infer/quantized/weight-format.ts'
import { compareGeneration, type GenerateOptions } from '../measure/compare-generation.ts'
import {
  GenerationBench,
  lengths,
  promptsOf,
  sampled,
  speedOf,
  type TimedText,
  type WeightsRow,
  weightsName,
} from '../measure/generation.ts'
import {
  onlyOption,
  refuse,
  routingsOf,
  runCommand,
  shapeOption,
  tableText,
  threadsOption,
} from '../support/command.ts'
import { Results, resultFile, shownPath, thisMachine, today } from '../support/results.ts'

interface Flags extends Omit<GenerateOptions, 'routings'> {
  readonly peer?: string
  readonly only?: readonly string[]
  readonly set?: readonly string[]
}

await runCommand(
  new Command('npx tsx bench/generation/generate.ts')
    .description('Times the generation of one text at a time, with random weights.')
    .addOption(new Option('--peer <name>', 'compare with this program (default: Choir alone)').choices(['pytorch']))
    .addOption(shapeOption())
    .addOption(onlyOption())
    .addOption(setOption())
    .addOption(threadsOption())
    .addOption(numberOption('--prompt <n>', 'tokens of the prompt', ranges.positiveInteger))
    .addOption(numberOption('--tokens <n>', 'tokens to generate after it', ranges.positiveInteger))
    .addOption(numberOption('--texts <n>', 'number of texts to time', ranges.positiveInteger).default(4))
    .option('--out <file>', 'JSON file to write (default: in docs/results, unless --set changes the shape)')
    .action(async (flags: Flags) => {
      const { peer, only, set } = flags
      if (peer === undefined) {
        refuse('requires --peer pytorch', { only })
        process.stdout.write(await timeChoir(flags))
      } else {
        refuse('not together with --peer', { set })
        await compareGeneration({ ...flags, routings: routingsOf(only ?? ['top-1']) })
      }
    }),
)

async function timeChoir(flags: Flags): Promise<string> {
  const { shape, set = [], texts, out } = flags
  const config = await loadConfig(shape, [...set, `runtime.threads=${flags.threads}`])
  const lengthsOf = lengths(config, flags)
  const benches = new Map<WeightFormat, GenerationBench>()
  try {
    for (const format of weightFormats) benches.set(format, await GenerationBench.open(config, format))
    const float32 = benches.get('float32') as GenerationBench
    const times = new Map(weightFormats.map((format) => [format, [] as TimedText[]]))
    const nextPrompt = promptsOf(config, lengthsOf.prompt)
    let bandwidth = 0
    for (let text = 0; text <= texts; text++) {
      bandwidth = Math.max(bandwidth, await measureBandwidth(float32.runtime))
      const prompt = nextPrompt()
      for (const [format, bench] of benches)
        times.get(format)?.push(await bench.text(prompt, lengthsOf.tokens, sampled, text))
    }
    const speedIn = (format: WeightFormat) => speedOf(times.get(format) as TimedText[])
    const rows = [...benches].map(([format, { activeBytes }]): WeightsRow => {
      const speed = speedIn(format)
      return {
        ...{ shape, format, threads: flags.threads, date: today(), ...lengthsOf, texts, ...speed },
        ...{ activeBytes, bandwidth, share: (speed.tokensPerSecond * activeBytes) / bandwidth },
        speedup: speed.tokensPerSecond / speedIn('float32').tokensPerSecond,
      }
    })
    const file = out ?? (set.length === 0 ? resultFile(weightsName(shape), shape === 'tiny') : null)
    if (file !== null) {
      const results = await Results.open<WeightsRow>(file, ({ format }) => format, thisMachine(flags.threads))
      for (const row of rows) await results.put(row)
    }
    return report(rows, float32.runtime.provider, file)
  } finally {
    for (const bench of benches.values()) await bench.stop()
  }
}

function report(rows: readonly WeightsRow[], provider: string, file: string | null): string {
  const head = ['weights', 'tokens/s', 'over float32', 'ms a token', 'MB a token', 'share of bandwidth', 'prompt ms']
  const cells = rows.map(({ format, tokensPerSecond, speedup, tokenMs, activeBytes, share, prefillMs }) => [
    ...[format, fixed(tokensPerSecond, 0), fixed(speedup, 2), fixed(tokenMs, 2), fixed(activeBytes / 1e6, 1)],
    ...[percent(share, 0), fixed(prefillMs, 1)],
  ])
  const [first] = rows as [WeightsRow, ...WeightsRow[]]
  return `${tableText([head, ...cells], 'lrrrrrr')}
  shape ${first.shape}, ${first.threads} threads, ${provider}: ${first.tokens} tokens after ${first.prompt}, ${first.texts} texts in turns, sampled
  bandwidth ${fixed(first.bandwidth / 1e9, 1)} GB/s, the best product of a vector and a matrix of 256 MiB
  rounding a weight when a model is loaded: ${roundingText()}, on one thread
${file === null ? '' : `  ${shownPath(file)}\n`}`
}

/** Nanoseconds of rounding a weight to each format, the best of several matrices. */
function roundingText(): string {
  const shape = { inner: 2048, columns: 1024, transposed: false }
  const weights = Float32Array.from({ length: shape.inner * shape.columns }, (_, i) => Math.sin(i))
  const formats = Object.entries(bitsOf).map(([format, bits]) => {
    const packed = new Uint8Array(quantizedBytes(bits, shape.inner, shape.columns))
    let best = Infinity
    for (let i = 0; i < 8; i++) {
      const copy = weights.slice()
      const start = performance.now()
      roundMatrix(copy, shape, bits, packed)
      best = Math.min(best, performance.now() - start)
    }
    return `${format} ${fixed((best * 1e6) / weights.length, 1)} ns`
  })
  return formats.join(', ')
}

/** Bytes per second, the best of several products of a vector with a matrix of 256 MiB. */
async function measureBandwidth(runtime: Runtime): Promise<number> {
  const [rows, columns] = [4096, 16384]
  const w = { arena: createArena(rows * columns * 4), start: 0, count: rows * columns }
  floatsOf(w).fill(1)
  const y = matmul(input('x', 'float32', [1, rows]), input('w', 'float32', [rows, columns]))
  const executable = await runtime.compile({ outputs: { y } })
  const binding = executable.bind({ x: new Float32Array(rows), w, y: new Float32Array(columns) })
  let best = Infinity
  for (let i = 0; i < 8; i++) {
    const start = performance.now()
    await binding.run()
    best = Math.min(best, performance.now() - start)
  }
  binding.release()
  executable.release()
  return (4 * w.count) / (best / 1000)
}
