/** The command line as a function from arguments to an exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
import { Command, CommanderError } from 'commander'
import { UsageError } from '../errors.ts'
import { version } from '../system/version.ts'
import { addBench } from './commands/bench.ts'
import { addDevices } from './commands/devices.ts'
import { addEval } from './commands/eval.ts'
import { addExport } from './commands/export.ts'
import { addGenerate } from './commands/generate.ts'
import { addImport } from './commands/import.ts'
import { addInspect } from './commands/inspect.ts'
import { addLaunch } from './commands/launch.ts'
import { addPlan } from './commands/plan.ts'
import { addPlay } from './commands/play.ts'
import { addStudy } from './commands/study.ts'
import { addTrain } from './commands/train.ts'
import { addWatch } from './commands/watch.ts'
import { formatError } from './format-error.ts'
import { colorsFor, Interrupted, type Io, Reported } from './io.ts'

/** Runs one command. Never throws: errors are printed on `io.stderr`. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  const program = createProgram(io)
  try {
    if (args.length === 0) {
      io.stderr.write(program.helpInformation())
      return 2
    }
    await program.parseAsync([...args], { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof Interrupted) return 130
    if (error instanceof Reported) return error.exitCode
    // Commander has already printed its message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const verbose = args.includes('--verbose')
    io.stderr.write(`${colorsFor(io.stderr, io.env).red('choir:')} ${formatError(error, verbose)}\n`)
    return error instanceof UsageError ? 2 : 1
  }
}

const commands = [
  addTrain,
  addLaunch,
  addWatch,
  addPlay,
  addStudy,
  addEval,
  addGenerate,
  addInspect,
  addImport,
  addExport,
  addPlan,
  addBench,
  addDevices,
]

function createProgram(io: Io): Command {
  const program = new Command('choir')
  const out = colorsFor(io.stdout, io.env)
  program
    .description(
      'Trains, compares, plans and runs Mixture-of-Experts language models. In such a model a router sends each token ' +
        'to a few of many feed-forward networks, the experts.',
    )
    .version(version(), '--version', 'print the version')
    .option('--verbose', 'print stack traces of errors')
    .helpOption('--help', 'print this help')
    .helpCommand(false)
    .exitOverride()
    .configureHelp({
      showGlobalOptions: true,
      styleTitle: (text) => out.bold(text),
      styleCommandText: (text) => out.cyan(text),
      styleSubcommandText: (text) => out.cyan(text),
      styleOptionText: (text) => out.cyan(text),
      styleArgumentText: (text) => out.cyan(text),
    })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => Math.min(io.stdout.columns || 100, 100),
      getOutHasColors: () => out.isColorSupported,
      outputError: (text, write) => write(`choir: ${text.replace(/^error: /, '')}`),
    })
    .addHelpText(
      'after',
      `
Examples:
  choir train demo
  choir watch runs
  choir eval runs/demo --data moby-dick
  choir generate runs/demo --prompt "The people of the United States"
  choir inspect base
  choir study m6t --out studies/m6t
  choir plan m6t-1t --cluster v100-480

Run "choir COMMAND --help" for the options of a command.`,
    )
  for (const add of commands) add(program, io)
  for (const command of program.commands) command.showHelpAfterError(`(see: choir ${command.name()} --help)`)
  return program
}
