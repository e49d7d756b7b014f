/**
 * Times generation: Choir alone against the bound that memory bandwidth sets, or with `--peer pytorch` alternating
 * with PyTorch (the same as `npm run bench -- --peer pytorch --generate`).
 *
 *   npx tsx bench/generate.ts --shape M
 *   npx tsx bench/generate.ts --set model.moe.k=2 --prompt 32 --tokens 200
 *   npx tsx bench/generate.ts --peer pytorch --only top-1 --only "2 top-1 1x"
 */
import { Command, Option } from 'commander'
import { numberOption, ranges, setOption } from '../src/cli/options.ts'
import { matmul } from '../src/graph/ops/matmul.ts'
import { input } from '../src/graph/tensor.ts'
import { loadConfig } from '../src/run/load-config.ts'
import { floatsOf } from '../src/runtime/arena.ts'
import type { Runtime } from '../src/runtime/contract.ts'
import { createArena } from '../src/runtime/cpu-arena.ts'
import { fixed } from '../src/text/numbers.ts'
import { compareGeneration, type GenerateOptions } from './measure/compare-generation.ts'
import { GenerationBench, lengths, promptsOf, sampled, speedOf, type TimedText } from './measure/generation.ts'
import { onlyOption, refuse, routingsOf, runCommand, shapeOption, threadsOption } from './support/command.ts'
import { using } from './support/line-process.ts'

interface Flags extends Omit<GenerateOptions, 'routings'> {
  readonly peer?: string
  readonly only?: readonly string[]
  readonly set?: readonly string[]
}

await runCommand(
  new Command('npx tsx bench/generate.ts')
    .description('Times the generation of one text at a time, with random weights.')
    .addOption(new Option('--peer <name>', 'compare with this program (default: Choir alone)').choices(['pytorch']))
    .addOption(shapeOption())
    .addOption(onlyOption())
    .addOption(setOption())
    .addOption(threadsOption())
    .addOption(numberOption('--prompt <n>', 'tokens of the prompt', ranges.positiveInteger))
    .addOption(numberOption('--tokens <n>', 'tokens to generate after it', ranges.positiveInteger))
    .addOption(numberOption('--texts <n>', 'number of texts to time', ranges.positiveInteger).default(4))
    .option('--out <file>', 'JSON file to write (with --peer)')
    .action(async (flags: Flags) => {
      const { peer, only, set, out } = flags
      if (peer === undefined) {
        refuse('requires --peer pytorch', { only, out })
        process.stdout.write(await timeChoir(flags))
      } else {
        refuse('not together with --peer', { set })
        await compareGeneration({ ...flags, routings: routingsOf(only ?? ['top-1']) })
      }
    }),
)

async function timeChoir(flags: Flags): Promise<string> {
  const { shape, set = [], texts } = flags
  const config = await loadConfig(shape, [...set, `runtime.threads=${flags.threads}`])
  const { prompt, tokens } = lengths(config, flags)
  return using(GenerationBench.open(config), async (bench) => {
    const bandwidth = await measureBandwidth(bench.runtime)
    const nextPrompt = promptsOf(config, prompt)
    const times: TimedText[] = []
    for (let text = 0; text <= texts; text++) times.push(await bench.text(nextPrompt(), tokens, sampled, text))
    const { tokensPerSecond, tokenMs, prefillMs } = speedOf(times)
    const { threads, provider } = bench.runtime
    return `
  shape ${shape}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${provider}
  ${fixed(tokensPerSecond, 0)} tokens/s, ${fixed(tokenMs, 2)} ms a token
  bound ${fixed(bandwidth / bench.activeBytes, 0)} tokens/s: ${fixed(bench.activeBytes / 1e6, 1)} MB of active weights at ${fixed(bandwidth / 1e9, 1)} GB/s
  prompt ${fixed(prefillMs, 1)} ms (${fixed(times[0]?.prefillMs ?? Number.NaN, 0)} ms the first time, with compilation)
`
  })
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
