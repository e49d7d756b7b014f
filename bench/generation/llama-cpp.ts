/**
 * Measures generation beside llama.cpp, in turns, from the same GGUF files: speed, memory, time until the first token.
 * `bench/peers/README.md` has the installation of llama.cpp, and the conditions of both sides.
 *
 *   npx tsx bench/generation/random-folder.ts M --format gguf --dtype q8_0 --out models/M-q8_0
 *   npm run build && CHOIR_LLAMA_CPP=../llama-cpp npx tsx bench/generation/llama-cpp.ts models/M-q8_0/model.gguf
 *   CHOIR_LLAMA_CPP=../llama-cpp npx tsx bench/generation/llama-cpp.ts models/M-q8_0/model.gguf --streams 8
 */
import { Command } from 'commander'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import {
  compareStreams,
  compareWithLlamaCpp,
  type LlamaCppRow,
  report,
  reportStreams,
  type StreamsRow,
} from '../measure/compare-llama-cpp.ts'
import { lengths } from '../measure/generation.ts'
import { type GgufModel, readGgufModel } from '../measure/gguf-model.ts'
import { findLlamaCpp } from '../peers/llama-cpp.ts'
import { runCommand, threadsOption, turnsOption } from '../support/command.ts'
import { Results, resultFile, shownPath, thisMachine } from '../support/results.ts'

interface Flags {
  readonly threads: number
  readonly prompt?: number
  readonly tokens?: number
  readonly turns: number
  readonly streams: number
  readonly out?: string
}

/** Tokens of the prompt, if the sequence has as many. */
const PROMPT = 512

await runCommand(
  new Command('npx tsx bench/generation/llama-cpp.ts')
    .description('Measures generation beside llama.cpp, from the same GGUF files.')
    .argument('<files...>', 'GGUF files')
    .addOption(threadsOption())
    .addOption(numberOption('--prompt <n>', 'tokens of the prompt (default: 512, or fewer)', ranges.positiveInteger))
    .addOption(
      numberOption('--tokens <n>', 'tokens to generate after it (default: 100, or fewer)', ranges.positiveInteger),
    )
    .addOption(turnsOption())
    .addOption(numberOption('--streams <n>', 'texts that are generated at once', ranges.positiveInteger).default(1))
    .option('--out <file>', 'JSON file to write (default: in docs/results)')
    .action(measureAll),
)

async function measureAll(files: readonly string[], { threads, turns, streams, out: given, ...flags }: Flags) {
  findLlamaCpp()
  const models = await Promise.all(files.map(readGgufModel))
  const out = given ?? resultFile(streams > 1 ? 'llama-cpp-streams' : 'llama-cpp')
  const optionsOf = (model: GgufModel) => {
    const prompt = flags.prompt ?? Math.min(PROMPT / streams, Math.floor(model.sequence / 2))
    return { threads, turns, ...lengths({ model }, { ...flags, prompt }) }
  }
  if (streams > 1) {
    const key = ({ model, streams }: StreamsRow) => `${model} ${streams}`
    const results = await Results.open<StreamsRow>(out, key, thisMachine(threads))
    const rows: StreamsRow[] = []
    for (const model of models) {
      process.stderr.write(`  ${model.name} ...\n`)
      const row = await compareStreams(model, streams, optionsOf(model))
      rows.push(row)
      await results.put(row)
    }
    process.stdout.write(`${reportStreams(rows)}\n  ${shownPath(out)}\n`)
    return
  }
  const results = await Results.open<LlamaCppRow>(out, ({ model }) => model, thisMachine(threads))
  const rows: LlamaCppRow[] = []
  for (const model of models) {
    process.stderr.write(`  ${model.name} ...\n`)
    const row = await compareWithLlamaCpp(model, optionsOf(model))
    rows.push(row)
    await results.put(row)
  }
  process.stdout.write(`${report(rows)}\n  ${shownPath(out)}\n`)
}
