/**
 * Times prompts that begin alike, with random weights: reading a whole prompt, and reading the rest of one whose beginning
 * is known. The times are those from a request to its first token, without a queue. Both take turns.
 *
 *   npx tsx bench/generation/prefix.ts --shape M
 *   npx tsx bench/generation/prefix.ts --shape S --common 512 --prompt 600
 */
import { Command } from 'commander'
import { median } from '../../src/core/averages.ts'
import { UsageError } from '../../src/core/errors.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import { numberOption, ranges, setOption } from '../../src/faces/cli/options.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { Contexts } from '../../src/use/infer/generation/contexts.ts'
import { TextState } from '../../src/use/infer/generation/text-state.ts'
import { scratchOfTexts } from '../../src/use/infer/generation/token-memory.ts'
import { type WeightFormat, weightFormats } from '../../src/use/infer/quantized/weight-format.ts'
import { promptsOf, randomModel, sampled } from '../measure/generation.ts'
import { runCommand, shapeOption, tableText, threadsOption } from '../support/command.ts'

interface Flags {
  readonly shape: string
  readonly set?: readonly string[]
  readonly threads: number
  readonly prompt: number
  readonly common: number
  readonly rounds: number
}

await runCommand(
  new Command('npx tsx bench/generation/prefix.ts')
    .description('Times prompts that begin alike, with random weights.')
    .addOption(shapeOption())
    .addOption(setOption())
    .addOption(threadsOption())
    .addOption(numberOption('--prompt <n>', 'tokens of each prompt', ranges.positiveInteger).default(1100))
    .addOption(
      numberOption('--common <n>', 'tokens with which all prompts begin', ranges.positiveInteger).default(1000),
    )
    .addOption(numberOption('--rounds <n>', 'number of prompts that are timed', ranges.positiveInteger).default(4))
    .action(async (flags: Flags) => {
      process.stdout.write(await timePrompts(flags))
    }),
)

async function timePrompts({ shape, set = [], threads, prompt, common, rounds }: Flags): Promise<string> {
  if (common >= prompt) throw new UsageError(`invalid --common: ${common} (expected less than --prompt, ${prompt})`)
  const longer = `model.sequence=${prompt + 100}`
  const config = await loadConfig(shape, [longer, ...set, `runtime.threads=${threads}`])
  const { model } = config
  const lines: string[][] = []
  for (const format of weightFormats) {
    const { whole, rest, reused } = await timeFormat(format)
    const rate = (ms: number) => fixed((1000 * prompt) / ms, 0)
    lines.push([
      format,
      fixed(whole, 0),
      rate(whole),
      String(reused),
      fixed(rest, 0),
      rate(rest),
      fixed(whole / rest, 1),
    ])
  }
  const head = ['weights', 'ms, all read', 'tokens/s', 'reused', 'ms, rest read', 'tokens/s', 'times as fast']
  return `${tableText([head, ...lines], 'lrrrrrr')}
  shape ${shape} with ${longer}, ${threads} threads: prompts of ${prompt} tokens, ${common} of them in common, medians of ${rounds}
`

  async function timeFormat(format: WeightFormat) {
    const { runtime, store } = await randomModel(config, format, scratchOfTexts(model, 2))
    const contexts = new Contexts(runtime, model, store, { count: 2 })
    const next = promptsOf(config, prompt)
    const times = { whole: [] as number[], rest: [] as number[] }
    let reused = 0
    const first = async (context: number, tokens: readonly number[]): Promise<number> => {
      const { vocabulary } = model
      const start = { prompt: tokens, vocabulary, sampling: sampled, seed: 1, kept: 0 as const, schemaText: null }
      const text = new TextState(contexts.config, start)
      const began = performance.now()
      const onReused = (tokens: number) => {
        reused = tokens
      }
      text.next(await contexts.compute(context, text, { onReused }))
      return performance.now() - began
    }
    try {
      // The first round compiles.
      for (let round = 0; round <= rounds; round++) {
        const [one, other] = [next(), next()]
        const whole = await first(0, one)
        const rest = await first(1, [...one.slice(0, common), ...other.slice(common)])
        if (round === 0) continue
        times.whole.push(whole)
        times.rest.push(rest)
      }
      return { whole: median(times.whole), rest: median(times.rest), reused }
    } finally {
      contexts.release()
      await runtime.close()
    }
  }
}
