/** The command lines of bench/, with the options, errors and exit codes of `choir`: 0 done, 1 failed, 2 wrong usage. */
import { cpus } from 'node:os'
import { type Command, CommanderError, Option } from 'commander'
import { type BenchmarkRouting, benchmarkRoutings } from '../../src/core/config/presets.ts'
import { formatValue, listWithOr, suggestion } from '../../src/core/config/problems.ts'
import { UsageError } from '../../src/core/errors.ts'
import { table } from '../../src/core/text/columns.ts'
import { formatError } from '../../src/faces/cli/format-error.ts'
import { listOption, numberOption, ranges } from '../../src/faces/cli/options.ts'
import { watchOutputErrors } from '../../src/faces/cli/output-errors.ts'

export const routings = Object.keys(benchmarkRoutings) as readonly BenchmarkRouting[]

/**
 * Parses the arguments of this process and runs the action. It never throws, but sets the exit code. If the reader of
 * its output closes the pipe, as `head` does, the process ends.
 */
export async function runCommand(command: Command): Promise<void> {
  const output = watchOutputErrors(process.stdout, process.stderr)
  output.onClosed(() => process.exit())
  process.on('exit', (code) => {
    process.exitCode = output.exitCode(code)
  })
  command
    .helpOption('--help', 'print this help')
    .exitOverride()
    .showHelpAfterError('(see --help)')
    .configureOutput({ outputError: (text, write) => write(`bench: ${text.replace(/^error: /, '')}`) })
  try {
    await command.parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2
      return
    }
    process.stderr.write(`bench: ${formatError(error, false)}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}

export const shapeOption = (): Option =>
  new Option('--shape <name>', 'size of the model; tiny is for quick tests').choices(['tiny', 'S', 'M']).default('S')

export const onlyOption = (): Option =>
  listOption('--only <routing>', `measure only this routing: ${routings.join(', ')}; repeatable`)

export const threadsOption = (): Option =>
  numberOption('--threads <n>', 'threads to compute with', ranges.positiveInteger).default(
    cpus().length,
    'one per logical core',
  )

export const turnsOption = (): Option =>
  numberOption('--turns <n>', 'turns of each side', ranges.positiveInteger).default(5)

/** The routings that `--only` names, or all if it is not given. @throws UsageError for an unknown name */
export function routingsOf(
  only: readonly string[] | undefined,
  all: readonly BenchmarkRouting[] = routings,
): readonly BenchmarkRouting[] {
  return (
    only?.map((name) => {
      const routing = all.find((routing) => routing === name)
      if (routing) return routing
      throw new UsageError(`invalid --only: "${name}" (expected ${listWithOr(all)}${suggestion(name, all)})`)
    }) ?? all
  )
}

/** @throws UsageError with the reason if one of the options is given */
export function refuse(reason: string, options: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(options))
    if (value !== undefined)
      throw new UsageError(
        `invalid --${name}${value === true ? '' : `: ${[value].flat().map(formatValue).join(', ')}`} (${reason})`,
      )
}

/** A table below an empty line; `align` has one letter per column, `l` or `r`. */
export const tableText = (rows: readonly (readonly string[])[], align: string): string =>
  `\n${table(rows, align)
    .map((line) => `  ${line}\n`)
    .join('')}`
