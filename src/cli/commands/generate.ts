/** `choir generate`: text from a trained run, as it comes. */
import type { Command } from 'commander'
import { colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { numberOption, ranges, threadsOption } from '../options.ts'

interface GenerateFlags {
  readonly prompt: string
  readonly tokens: number
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly seed: number
  readonly threads?: number
}

export function addGenerate(program: Command, io: Io): void {
  program
    .command('generate')
    .summary('generate text with a run')
    .description('Continues a prompt with the newest checkpoint of a run, as the text comes.')
    .argument('<run>', 'run directory')
    .requiredOption('--prompt <text>', 'text to continue')
    .addOption(numberOption('--tokens <n>', 'tokens to generate', ranges.positiveInteger).default(200))
    .addOption(
      numberOption('--temperature <t>', '0 takes the likeliest token; above 1 is wilder', ranges.nonNegative).default(
        0.8,
      ),
    )
    .addOption(numberOption('--top-k <k>', 'choose among the k likeliest; 0 = all', ranges.count).default(40))
    .addOption(
      numberOption('--top-p <p>', 'choose among the likeliest of probability p together', ranges.share).default(0.95),
    )
    .addOption(numberOption('--seed <n>', 'the same seed gives the same text', ranges.count).default(0))
    .addOption(threadsOption())
    .addHelpText(
      'after',
      `
Examples:
  choir generate runs/demo --prompt "The people of the United States"
  choir generate runs/demo --prompt "Fellow citizens" --tokens 400 --seed 7
  choir generate runs/demo --prompt "Peace" --temperature 0 > peace.txt`,
    )
    .action((directory: string, flags: GenerateFlags) => run(io, directory, flags))
}

async function run(io: Io, directory: string, flags: GenerateFlags): Promise<void> {
  const { cyan } = colorsFor(io.stdout, io.env)
  const interrupted = await interruptible(io, async (signal) => {
    let begun = false
    try {
      for await (const piece of io.operations.generate(directory, { ...flags, signal })) {
        // Only once the run has proved readable: an error should stand alone.
        if (!begun) io.stdout.write(cyan(flags.prompt))
        begun = true
        io.stdout.write(piece)
        if (signal.aborted) break
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      if (begun) io.stdout.write('\n')
    }
    return signal.aborted
  })
  if (interrupted) throw new Interrupted()
}
