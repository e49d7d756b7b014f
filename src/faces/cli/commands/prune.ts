/** `choir prune`: deletes native libraries of other platforms. */
import type { Command } from 'commander'
import { bytes } from '../../../core/text/numbers.ts'
import { labelled } from '../display/display.ts'
import { colorsFor, type Io } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption } from '../options.ts'

interface Flags {
  readonly dryRun?: true
  readonly json?: true
}

export function addPrune(program: Command, io: Io): void {
  program
    .command('prune')
    .summary('delete libraries of other platforms from the installation')
    .description(
      'Deletes libraries for other systems and processors from the packages that Choir loads: ONNX Runtime, WebGPU and ' +
        'tokenizers come with those of every platform. Makes images of containers smaller.',
    )
    .option('--dry-run', 'only list what would be deleted')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir prune --dry-run
  choir prune

npm brings them back when it installs the packages again (npm ci).`,
    )
    .action((flags: Flags) => run(io, flags))
}

async function run(io: Io, { dryRun, json }: Flags): Promise<void> {
  const libraries = await io.operations.foreignLibraries()
  if (!dryRun) await io.operations.deleteLibraries(libraries)
  const total = libraries.reduce((sum, { bytes }) => sum + bytes, 0)
  if (json) return writeJson(io, { kind: 'prune', deleted: !dryRun, bytes: total, libraries })
  const colors = colorsFor(io.stdout, io.env)
  const rows = libraries.map(({ package: name, bytes: size }): [string, string] => [name, bytes(size)])
  if (rows.length === 0) io.stdout.write('\n  no libraries of other platforms\n\n')
  else io.stdout.write(`\n${labelled([...rows, [dryRun ? 'would free' : 'freed', bytes(total)]], colors)}\n`)
}
