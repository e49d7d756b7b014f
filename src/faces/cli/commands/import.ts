/** `choir import`: a model of another library becomes a run. */
import { type Command, Option } from 'commander'
import { listWithOr, suggestion } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { titledTable } from '../../../core/text/columns.ts'
import { bytes, count, grouped, percent } from '../../../core/text/numbers.ts'
import { printable } from '../../../core/text/printable.ts'
import {
  type ImportDtype,
  type ImportReport,
  importDtypes,
  type NamedToken,
} from '../../../use/interchange/import/report.ts'
import type { Upcycling } from '../../../use/interchange/import/upcycle.ts'
import { labelled } from '../display/display.ts'
import { print } from '../display/print.ts'
import { type Colors, colorsFor, type Io, isTerminal, untilInterrupted } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, numberOption, ranges } from '../options.ts'

interface ImportFlags {
  readonly out: string
  readonly upcycle?: Upcycling
  readonly dtype?: ImportDtype
  readonly sequence?: number
  readonly seed?: number
  readonly json?: true
}

export function addImport(program: Command, io: Io): void {
  program
    .command('import')
    .summary('import a model in the layout of Hugging Face')
    .description(
      'Makes a run of a model in a folder with config.json, safetensors and tokenizer.json, which can be evaluated, ' +
        'generate text and be trained further. With --upcycle a dense model becomes a sparse one, whose experts ' +
        'begin as copies of its feed-forward networks.',
    )
    .argument('<folder>', 'the folder of the model, or a GGUF file; with --upcycle also the directory of a dense run')
    .requiredOption('--out <run>', 'the new run directory')
    .addOption(upcycleOption())
    .addOption(
      new Option(
        '--dtype <type>',
        'type in which weights are stored; source: bfloat16 or float16 if the model has it (default: float32)',
      ).choices(importDtypes),
    )
    .addOption(
      numberOption(
        '--sequence <n>',
        "longest sequence, which memory grows with (default: the model's, at most 1024)",
        ranges.positiveInteger,
      ),
    )
    .addOption(numberOption('--seed <n>', 'seed of new routers and noise (default: 0)', ranges.count))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir import OLMoE-1B-7B --out runs/olmoe
  choir eval runs/olmoe --data moby-dick
  choir import OLMoE-1B-7B --dtype source --out runs/olmoe     half the space on the disk
  choir import Llama-3.2-1B --upcycle experts=8,k=2 --out runs/upcycled
  choir import runs/dense --upcycle experts=8,k=2,every=2,noise=0.01 --out runs/upcycled

Supported are mixtral, olmoe, qwen2_moe, qwen3_moe, granitemoe, granitemoeshared, deepseek (V1) and dots1, and the
dense llama, mistral, qwen2, qwen3 and granite, with weights in float32, bfloat16 or float16; and GGUF files of llama,
granite, granitemoe, qwen2, qwen2moe, qwen3, qwen3moe and olmoe, whose weights may also be Q8_0, Q6_K to Q2_K, Q5_0,
Q5_1, Q4_0, Q4_1, IQ4_NL or IQ4_XS. All tensors must have a place in the model; the table of all places is written to
import.json in the run directory.`,
    )
    .action((folder: string, flags: ImportFlags) => run(io, folder, flags))
}

async function run(io: Io, folder: string, { out, json, ...options }: ImportFlags): Promise<void> {
  const progress = json ? undefined : progressLine(io)
  const report = await untilInterrupted(io, (signal) =>
    io.operations
      .importModel(folder, out, { ...options, signal, ...(progress && { onProgress: progress.show }) })
      .finally(() => progress?.end()),
  )
  if (json) return writeJson(io, report)
  for (const key of report.ignoredKeys)
    io.stderr.write(
      `choir: config.json has ${key}, which Choir does not know: check that it does not change the model\n`,
    )
  for (const notice of report.notices) io.stderr.write(`choir: ${notice}\n`)
  print(io, reportText(report, colorsFor(io.stdout, io.env)))
}

/** A line that shows the share of the model that is written; undefined if standard error is no terminal. */
function progressLine(io: Io): { show(done: number, total: number): void; end(): void } | undefined {
  if (!isTerminal(io.stderr, io.env)) return undefined
  return {
    show: (done, total) => io.stderr.write(`\r  ${percent(done / total)} of ${bytes(total)} written\x1b[K`),
    end: () => io.stderr.write('\r\x1b[K'),
  }
}

function reportText(report: ImportReport, colors: Colors): string {
  const { architecture, parameters, directory, tensors, made, ignoredTensors } = report
  const ours = new Set(tensors.flatMap((tensor) => tensor.ours)).size
  const types = [...new Set(tensors.map(({ dtype }) => dtype))].join(', ')
  const facts: [string, string][] = [
    ['model', `${architecture}, ${colors.bold(count(parameters))} parameters`],
    ['read', `${grouped(tensors.length)} tensors, all mapped: ${bytes(report.bytes.read)} of ${types}`],
    [
      'written',
      `${grouped(ours + made.length)} tensors: ${bytes(report.bytes.written)} of ${report.storedAs.join(', ')}`,
    ],
    ['texts', textsText(report)],
    ...(made.length > 0
      ? [['new', `${grouped(made.length)} ${made.length === 1 ? 'router' : 'routers'}, at random`] as [string, string]]
      : []),
    ...(ignoredTensors.length > 0 ? [['not used', ignoredTensors.join(', ')] as [string, string]] : []),
    ['run', directory],
  ]
  return `\n${labelled(facts, colors)}\n${[...placesTable(report, colors), ''].join('\n')}`
}

/** Text like `begin token none · end tokens <|im_end|> 151645, <|endoftext|> 151643 · chat template`. */
function textsText({ begin, end, chatTemplate }: ImportReport): string {
  const named = ({ id, token }: NamedToken) => (token === null ? String(id) : `${printable(token)} ${id}`)
  return [
    `begin token ${begin ? named(begin) : 'none'}`,
    `end ${end.length === 1 ? 'token' : 'tokens'} ${end.map(named).join(', ')}`,
    chatTemplate ? 'chat template' : 'no chat template',
  ].join(' · ')
}

/**
 * Tensors of the other library beside ours. Tensors whose names differ only in numbers of layers or experts are one
 * row.
 */
function placesTable({ tensors }: ImportReport, colors: Colors): string[] {
  const rows = new Map<string, { cells: string[]; tensors: number; places: string }>()
  for (const { name, dtype, shape, ours } of tensors) {
    const places = [...new Set(ours.map(withoutNumbers))].join(', ')
    const cells = [withoutNumbers(name), dtype, shape.join(' × ')]
    const key = [...cells, places].join()
    const row = rows.get(key)
    if (row) row.tensors++
    else rows.set(key, { cells, tensors: 1, places })
  }
  const lines = [...rows.values()].map((row) => [...row.cells, grouped(row.tensors), row.places])
  return titledTable(['theirs', 'type', 'shape', 'tensors', 'ours'], lines, 'lllrl', colors)
}

const withoutNumbers = (name: string): string => name.replace(/(?<=^|\.)\d+(?=\.|$)/g, '*')

const upcycleFields = ['experts', 'k', 'every', 'from', 'noise'] as const

function upcycleOption(): Option {
  return new Option(
    '--upcycle <settings>',
    'make experts of a dense model: experts=N,k=K, and optionally every=, from= (which layers), noise= (on copies)',
  ).argParser(parseUpcycling)
}

/** @throws UsageError that names the wrong setting */
function parseUpcycling(text: string): Upcycling {
  const settings: Partial<Record<(typeof upcycleFields)[number], number>> = {}
  const wrong = (part: string, message: string) =>
    new UsageError(`invalid --upcycle: ${JSON.stringify(part)} (expected ${message})`)
  for (const part of text.split(',')) {
    const [name = '', value = ''] = part.split('=').map((word) => word.trim())
    const field = upcycleFields.find((each) => each === name)
    if (!field)
      throw wrong(
        part,
        `settings such as experts=8,k=2: ${listWithOr(upcycleFields)}${suggestion(name, upcycleFields)}`,
      )
    const number = value === '' ? Number.NaN : Number(value)
    const least = field === 'noise' || field === 'from' ? 0 : 1
    const isWhole = field === 'noise' ? Number.isFinite(number) : Number.isSafeInteger(number)
    if (!isWhole || number < least)
      throw wrong(
        part,
        field === 'noise' ? 'a number of at least 0, such as noise=0.01' : `an integer of at least ${least}`,
      )
    settings[field] = number
  }
  const { experts, k } = settings
  if (experts === undefined || k === undefined) throw wrong(text, 'at least experts and k, such as experts=8,k=2')
  return { ...settings, experts, k }
}
