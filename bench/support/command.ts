/**
 * The command lines of bench/: options as `choir` has them, errors and exit codes too (0 done, 1 failed,
 * 2 wrong usage).
 */
import { cpus } from 'node:os'
import { type Command, CommanderError, Option } from 'commander'
import { table } from '../../src/cli/layout.ts'
import { listOption, numberOption, ranges } from '../../src/cli/options.ts'
import { type BenchmarkRouting, benchmarkRoutings } from '../../src/config/presets.ts'
import { listOf, shown, suggestion } from '../../src/config/problems.ts'
import { UsageError } from '../../src/errors.ts'

export const routings = Object.keys(benchmarkRoutings) as readonly BenchmarkRouting[]

/** Parses the arguments of this process and runs the action; never throws. */
export async function runCommand(command: Command): Promise<void> {
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
    process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}

export const shapeOption = (): Option =>
  new Option('--shape <name>', 'shape of the model; tiny only tries things out')
    .choices(['tiny', 'S', 'M'])
    .default('S')

export const onlyOption = (): Option => listOption('--only <routing>', `one of ${routings.join(', ')}; repeatable`)

export const threadsOption = (): Option =>
  numberOption('--threads <n>', 'threads to compute with', ranges.positiveInteger).default(
    cpus().length,
    'one for each logical core',
  )

export const turnsOption = (): Option =>
  numberOption('--turns <n>', 'how often the sides take turns', ranges.positiveInteger).default(5)

/** The routings that `--only` names, or `all` that stand for none. @throws UsageError for an unknown name */
export function routingsOf(
  only: readonly string[] | undefined,
  all: readonly BenchmarkRouting[] = routings,
): readonly BenchmarkRouting[] {
  return (
    only?.map((name) => {
      const routing = all.find((routing) => routing === name)
      if (routing) return routing
      throw new UsageError(`invalid --only: "${name}" (expected ${listOf(all)}${suggestion(name, all)})`)
    }) ?? all
  )
}

/** @throws UsageError with the reason when one of the options is given */
export function refuse(reason: string, options: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(options))
    if (value !== undefined)
      throw new UsageError(
        `invalid --${name}${value === true ? '' : `: ${[value].flat().map(shown).join(', ')}`} (${reason})`,
      )
}

/** Rows in columns, under an empty line; `align` has a letter a column, `l` or `r`. */
export const tableText = (rows: readonly (readonly string[])[], align: string): string =>
  `\n${table(rows, align)
    .map((line) => `  ${line}\n`)
    .join('')}`
