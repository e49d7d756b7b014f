/** `choir generate`: prints text from a trained model while it is generated. */
import type { Command } from 'commander'
import { colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { type Device, deviceOption, numberOption, ranges, threadsOption } from '../options.ts'

interface GenerateFlags {
  readonly prompt: string
  readonly tokens: number
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly seed: number
  readonly device?: Device
  readonly threads?: number
}

export function addGenerate(program: Command, io: Io): void {
  program
    .command('generate')
    .summary('generate text with a trained model')
    .description('Continues a prompt with the newest checkpoint of a run. Prints the text while it is generated.')
    .argument('<run>', 'run directory')
    .requiredOption('--prompt <text>', 'text to continue')
    .addOption(numberOption('--tokens <n>', 'tokens to generate', ranges.positiveInteger).default(200))
    .addOption(
      numberOption('--temperature <t>', 'randomness: 0 takes the likeliest token', ranges.nonNegative).default(0.8),
    )
    .addOption(numberOption('--top-k <k>', 'sample among the k likeliest tokens; 0 = all', ranges.count).default(40))
    .addOption(
      numberOption('--top-p <p>', 'sample among the likeliest tokens with total probability p', ranges.share).default(
        0.95,
      ),
    )
    .addOption(numberOption('--seed <n>', 'the same seed gives the same text', ranges.count).default(0))
    .addOption(deviceOption())
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
    let started = false
    try {
      for await (const piece of io.operations.generate(directory, { ...flags, signal })) {
        // Not before the first piece: if the run cannot be read, only the error should appear.
        if (!started) io.stdout.write(cyan(flags.prompt))
        started = true
        io.stdout.write(piece)
        if (signal.aborted) break
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      if (started) io.stdout.write('\n')
    }
    return signal.aborted
  })
  if (interrupted) throw new Interrupted()
}
