/** `choir export`: a trained model as files of other programs. */
import { type Command, Option } from 'commander'
import { bytes, count, grouped } from '../../../core/text/numbers.ts'
import {
  type ExportDtype,
  type ExportFormat,
  exportDtypes,
  exportFormats,
} from '../../../use/interchange/export/contract.ts'
import { checkText, type ExportReport, lossText } from '../../../use/interchange/export/report.ts'
import { labelled } from '../display/display.ts'
import { print } from '../display/print.ts'
import { type Colors, colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { writeJson } from '../json.ts'
import { checkpointOption, jsonOption, threadsOption } from '../options.ts'

interface ExportFlags {
  readonly format: ExportFormat
  readonly out?: string
  readonly dtype: ExportDtype
  readonly checkpoint?: number
  readonly threads?: number
  readonly json?: true
}

export function addExport(program: Command, io: Io): void {
  program
    .command('export')
    .summary('write a trained model for other programs')
    .description(
      'Writes a checkpoint of a run, by default the newest, as files of other programs: hf for transformers and vLLM, onnx ' +
        'for transformers.js and ONNX Runtime, gguf for llama.cpp. It chooses the architecture that the model is, reads ' +
        'the files back, and prints the largest difference of logits. Experts have no capacity there; it also prints what ' +
        'that changes.',
    )
    .argument('<run>', 'run directory')
    .addOption(new Option('--format <name>', 'format of the files').choices(exportFormats).makeOptionMandatory())
    .option('--out <folder>', 'folder to write, new or empty (default: export/FORMAT in the run directory)')
    .addOption(
      new Option('--dtype <type>', 'how weights are stored; q8_0 and q4_0 are for gguf')
        .choices(exportDtypes)
        .default('float32' satisfies ExportDtype),
    )
    .addOption(checkpointOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir export runs/demo --format hf
  choir export runs/demo --format onnx --out demo-onnx
  choir export runs/demo --format gguf --dtype f16 --out demo-gguf
  choir export runs/demo --format gguf --dtype q8_0   (or q4_0)

A model that the format cannot hold is refused with the reason (see docs/import-and-export.md).`,
    )
    .action((directory: string, flags: ExportFlags) => run(io, directory, flags))
}

async function run(io: Io, directory: string, { json, ...options }: ExportFlags): Promise<void> {
  const { report, aborted } = await interruptible(io, async (signal) => {
    try {
      const report = await io.operations.exportRun(directory, {
        ...options,
        signal,
        onMessage(event) {
          if (json) writeJson(io, event)
          else if (event.kind === 'prepare') io.stderr.write(`  ${event.message}\n`)
          else io.stderr.write(`choir: ${event.message}\n`)
        },
      })
      return { report, aborted: false }
    } catch (error) {
      if (signal.aborted) return { report: null, aborted: true }
      throw error
    }
  })
  if (aborted || !report) {
    io.stderr.write('choir: interrupted; nothing was written\n')
    throw new Interrupted()
  }
  if (json) return writeJson(io, report)
  print(io, reportText(report, colorsFor(io.stdout, io.env)))
}

function reportText(report: ExportReport, colors: Colors): string {
  const total = report.files.reduce((sum, file) => sum + file.bytes, 0)
  const files = report.files.map(({ name, bytes: size }) => `    ${name}  ${colors.dim(bytes(size))}\n`).join('')
  return `${labelled(
    [
      ['architecture', colors.bold(report.architecture)],
      ['because', report.reason],
      ['model', `${count(report.parameters)} parameters, step ${grouped(report.step)}, stored as ${report.dtype}`],
      ['read back', checkText(report.logits)],
      ['held-out loss', lossText(report.held_out)],
      ['folder', `${colors.bold(report.out)}, ${bytes(total)}`],
    ],
    colors,
  )}${files}`
}
