/** `choir check`: checks of a part of the user's own. */
import type { Command } from 'commander'
import { RunError } from '../../../core/errors.ts'
import { fixed } from '../../../core/text/numbers.ts'
import type { PluginCheck } from '../../../tools/check/check.ts'
import { print, printNote } from '../display/print.ts'
import { type Colors, colorsFor, type Io } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption } from '../options.ts'

export function addCheck(program: Command, io: Io): void {
  program
    .command('check')
    .summary('check a part of your own: a router, a loss, a layer, a schedule or an optimizer')
    .description(
      'Checks a part of your own. Of a router: its choices, its gradients against finite differences in float64, which ' +
        'tokens it sees, equal bits with one and two threads and on one and two ranks, and its speed beside top-k. Of a ' +
        'layer: its outputs, gradients, tokens and bits with two threads, and its speed beside a dense network. Of a balancing loss: its values, gradients, bits and speed. Of a ' +
        'learning-rate schedule: its rates. Of an optimizer: shapes and finite values, bits, a quadratic loss, and its ' +
        'speed beside AdamW. Exit code 1 if a check fails. The part is a program: it runs with your rights, and from ' +
        'now on commands load it for runs that were trained with it.',
    )
    .argument(
      '<file>',
      'a TypeScript or JavaScript file whose default export is a router, a balancing loss, a layer, a schedule or an optimizer',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir check my-router.ts
  choir train demo --set model.moe.router=./my-router.ts --set model.moe.prototypes=1`,
    )
    .action((file: string, flags: { readonly json?: true }) => run(io, file, flags))
}

async function run(io: Io, file: string, flags: { readonly json?: true }): Promise<void> {
  const report = await io.operations.checkPlugin(file)
  if (flags.json) writeJson(io, { kind: 'plugin_check', ...report })
  else print(io, textOf(report, colorsFor(io.stdout, io.env)))
  if (report.warning !== null && !flags.json) printNote(io, report.warning)
  const failed = report.checks.filter(({ passed }) => !passed)
  if (failed.length > 0)
    throw new RunError(`${failed.length} of ${report.checks.length} checks of the ${report.part} ${report.id} failed`)
}

function textOf(report: PluginCheck, colors: Colors): string {
  const lines = report.checks.flatMap(({ name, passed, found }) => [
    `  ${passed ? colors.green('✓') : colors.red('✗')} ${name}`,
    `    ${colors.dim(found)}`,
  ])
  return [
    '',
    `  ${colors.bold(report.id)}`,
    '',
    ...lines,
    ...(report.time === null
      ? []
      : [
          '',
          report.part === 'optimizer'
            ? `  an update with it takes ${fixed(report.time.ratio, 2)} × the time of ${report.time.over}`
            : `  a layer with it takes ${fixed(report.time.ratio, 2)} × the time of a layer with ${report.time.over}, forward and backward`,
        ]),
    '',
    '',
  ].join('\n')
}
