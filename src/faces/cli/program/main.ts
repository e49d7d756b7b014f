/** The command line as a function from arguments to an exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
import { Command, CommanderError } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import { printable } from '../../../core/text/printable.ts'
import { version } from '../../../core/version.ts'
import { formatError } from '../format-error.ts'
import { colorsFor, Interrupted, type Io, Reported } from '../io.ts'
import { withRemoval } from '../removed.ts'

/** Runs one command. Never throws: errors are printed on `io.stderr`. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  try {
    const program = createProgram(io, args, await loadCommands(args))
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

/** Refuses empty paths: some calls would take them for the current folder, and others for no path. */
function refuseEmptyPaths(command: Command): void {
  for (const option of command.options)
    if (/<(file|dir|folder|run)>/.test(option.flags) && command.getOptionValue(option.attributeName()) === '')
      throw new UsageError(`invalid ${option.long}: "" (expected a path)`)
}

type AddCommand = (program: Command, io: Io) => void

/** Modules of commands are imported when they are used: `choir train` does not load the others. */
const commands: Readonly<Record<string, () => Promise<AddCommand>>> = {
  train: async () => (await import('../commands/train.ts')).addTrain,
  launch: async () => (await import('../commands/launch.ts')).addLaunch,
  watch: async () => (await import('../commands/watch.ts')).addWatch,
  play: async () => (await import('../commands/play.ts')).addPlay,
  study: async () => (await import('../commands/study.ts')).addStudy,
  eval: async () => (await import('../commands/eval.ts')).addEval,
  score: async () => (await import('../commands/score.ts')).addScore,
  routing: async () => (await import('../commands/routing.ts')).addRouting,
  generate: async () => (await import('../commands/generate.ts')).addGenerate,
  serve: async () => (await import('../commands/serve.ts')).addServe,
  check: async () => (await import('../commands/check.ts')).addCheck,
  inspect: async () => (await import('../commands/inspect.ts')).addInspect,
  import: async () => (await import('../commands/import.ts')).addImport,
  export: async () => (await import('../commands/export.ts')).addExport,
  plan: async () => (await import('../commands/plan.ts')).addPlan,
  worth: async () => (await import('../commands/worth.ts')).addWorth,
  bench: async () => (await import('../commands/bench.ts')).addBench,
  devices: async () => (await import('../commands/devices.ts')).addDevices,
  prune: async () => (await import('../commands/prune.ts')).addPrune,
}

/**
 * Loads the command that the arguments name. If they name no command, loads all, for the help and for suggestions. The
 * version needs none.
 */
function loadCommands(args: readonly string[]): Promise<AddCommand[]> {
  if (args.length === 1 && args[0] === '--version') return Promise.resolve([])
  const name = args.find((arg) => !arg.startsWith('-')) ?? ''
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  return Promise.all((load ? [load] : Object.values(commands)).map((load) => load()))
}

function createProgram(io: Io, args: readonly string[], commands: readonly AddCommand[]): Command {
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
      outputError: (text, write) => write(`choir: ${printable(withRemoval(text, args).replace(/^error: /, ''))}`),
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
  choir worth demo --tokens 10M --set model.moe=null

Run "choir COMMAND --help" for the options of a command.`,
    )
  for (const add of commands) add(program, io)
  program.hook('preAction', (_, command) => refuseEmptyPaths(command))
  for (const command of program.commands) command.showHelpAfterError(`(see: choir ${command.name()} --help)`)
  return program
}
