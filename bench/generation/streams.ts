/**
 * Times the generation of several texts at once, with random weights. Numbers of texts and formats of weights take turns.
 *
 *   npx tsx bench/generation/streams.ts --shape M
 *   npx tsx bench/generation/streams.ts --shape S --streams 1,4 --set model.moe.k=2
 */
import { Command } from 'commander'
import { median } from '../../src/core/averages.ts'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import { numberOption, ranges, setOption } from '../../src/faces/cli/options.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { Contexts } from '../../src/use/infer/generation/contexts.ts'
import { TextState } from '../../src/use/infer/generation/text-state.ts'
import { scratchOfTexts } from '../../src/use/infer/generation/token-memory.ts'
import { type WeightFormat, weightFormats } from '../../src/use/infer/quantized/weight-format.ts'
import { lengths, promptsOf, randomModel, sampled } from '../measure/generation.ts'
import { runCommand, shapeOption, tableText, threadsOption } from '../support/command.ts'
import { Results, resultFile, shownPath, thisMachine, today } from '../support/results.ts'

/** Numbers of texts that are computed at once. */
const COUNTS = [1, 2, 4, 8, 16]

interface StreamsRow {
  readonly shape: string
  readonly format: WeightFormat
  readonly streams: number
  readonly threads: number
  readonly date: string
  readonly prompt: number
  readonly tokens: number
  readonly rounds: number
  /** Median time of a step, in which each text gets a token. */
  readonly stepMs: number
  /** Tokens per second of all texts together. */
  readonly tokensPerSecond: number
  /** Tokens per second, divided by the rate of one text. */
  readonly speedup: number
}

interface Flags {
  readonly shape: string
  readonly set?: readonly string[]
  readonly threads: number
  readonly prompt?: number
  readonly tokens?: number
  readonly rounds: number
  readonly out?: string
}

await runCommand(
  new Command('npx tsx bench/generation/streams.ts')
    .description('Times the generation of several texts at once, with random weights.')
    .addOption(shapeOption())
    .addOption(setOption())
    .addOption(threadsOption())
    .addOption(numberOption('--prompt <n>', 'tokens of each prompt', ranges.positiveInteger))
    .addOption(numberOption('--tokens <n>', 'tokens to generate after it', ranges.positiveInteger))
    .addOption(
      numberOption(
        '--rounds <n>',
        'number of times that each number of texts is timed',
        ranges.positiveInteger,
      ).default(4),
    )
    .option('--out <file>', 'JSON file to write (default: in docs/results, unless --set changes the shape)')
    .action(async (flags: Flags) => {
      process.stdout.write(await timeStreams(flags))
    }),
)

async function timeStreams(flags: Flags): Promise<string> {
  const { shape, set = [], threads, rounds, out } = flags
  const config = await loadConfig(shape, [...set, `runtime.threads=${threads}`])
  const lengthsOf = lengths(config, flags)
  const rows: StreamsRow[] = []
  for (const format of weightFormats) {
    const steps = await timeFormat(config, format, rounds, lengthsOf)
    const rate = (streams: number) => (1000 * streams) / median(steps.get(streams) as number[])
    for (const streams of COUNTS)
      rows.push({
        ...{ shape, format, streams, threads, date: today(), ...lengthsOf, rounds },
        stepMs: median(steps.get(streams) as number[]),
        tokensPerSecond: rate(streams),
        speedup: rate(streams) / rate(1),
      })
  }
  const file = out ?? (set.length === 0 ? resultFile(`streams-${shape}`, shape === 'tiny') : null)
  if (file !== null) {
    const key = ({ format, streams }: StreamsRow) => `${format} ${streams}`
    const results = await Results.open<StreamsRow>(file, key, thisMachine(threads))
    for (const row of rows) await results.put(row)
  }
  return report(rows, file)
}

/** Times in ms of the steps of each number of texts, all but the first of a round. */
async function timeFormat(
  config: RunConfig,
  format: WeightFormat,
  rounds: number,
  { prompt, tokens }: { readonly prompt: number; readonly tokens: number },
): Promise<Map<number, number[]>> {
  const { model } = config
  const count = Math.max(...COUNTS)
  const { runtime, store } = await randomModel(config, format, scratchOfTexts(model, count))
  const contexts = new Contexts(runtime, model, store, { count })
  const nextPrompt = promptsOf(config, prompt)
  const times = new Map(COUNTS.map((streams) => [streams, [] as number[]]))
  try {
    // The first round compiles.
    for (let round = 0; round <= rounds; round++)
      for (const streams of COUNTS) {
        const texts = Array.from({ length: streams }, (_, seed) => {
          const start = {
            prompt: nextPrompt(),
            vocabulary: model.vocabulary,
            sampling: sampled,
            seed,
            kept: 0 as const,
            schemaText: null,
          }
          return new TextState(contexts.config, start)
        })
        for (const [context, text] of texts.entries()) text.next(await contexts.compute(context, text))
        const all = texts.map((text, context) => ({ context, text }))
        for (let token = 1; token < tokens; token++) {
          const began = performance.now()
          await contexts.computeTokens(all, (i, logits) => texts[i]?.next(logits))
          if (round > 0 && token > 1) times.get(streams)?.push(performance.now() - began)
        }
      }
    return times
  } finally {
    contexts.release()
    await runtime.close()
  }
}

function report(rows: readonly StreamsRow[], file: string | null): string {
  const head = ['weights', 'texts', 'ms a step', 'tokens/s', 'over one text']
  const cells = rows.map(({ format, streams, stepMs, tokensPerSecond, speedup }) => [
    ...[format, String(streams), fixed(stepMs, 2), fixed(tokensPerSecond, 0), fixed(speedup, 2)],
  ])
  const [first] = rows as [StreamsRow, ...StreamsRow[]]
  return `${tableText([head, ...cells], 'lrrrr')}
  shape ${first.shape}, ${first.threads} threads: ${first.tokens} tokens after ${first.prompt}, ${first.rounds} rounds in turns, sampled
${file === null ? '' : `  ${shownPath(file)}\n`}`
}
