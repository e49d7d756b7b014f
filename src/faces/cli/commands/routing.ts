/** `choir routing`: a record of the experts that a model chooses for the tokens of a text, and what they specialise in. */
import { type Command, Option } from 'commander'
import { formatValue } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { type CapacityRule, capacityRules } from '../../../core/model/routing/contract.ts'
import { fixed, grouped, plural } from '../../../core/text/numbers.ts'
import { ATLAS_FILE, holdsRoutes, PAGE_FILE, type RowFormat, rowFormats } from '../../../node/routes/files.ts'
import type { RoutesHeader } from '../../../node/routes/format.ts'
import type { AtlasOptions } from '../../../tools/routes/atlas/atlas.ts'
import type { Atlas } from '../../../tools/routes/atlas/contract.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import { atlasText, comparisonText } from '../display/atlas.ts'
import { labelled } from '../display/display.ts'
import { columnsOf, print, printNote } from '../display/print.ts'
import { colorsFor, type Io, untilInterrupted } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, listOption, type ModelFlags, tokensOption, withModelOptions } from '../options.ts'

interface RoutingFlags extends ModelFlags {
  readonly data?: string[]
  readonly out?: string
  readonly tokens?: number
  readonly format: RowFormat
  readonly capacity: CapacityRule
  readonly ablate?: number
  readonly replay?: string
  readonly compare?: string
  readonly export?: string
  readonly json?: true
}

export function addRouting(program: Command, io: Io): void {
  const command = program
    .command('routing')
    .summary('record which experts the tokens of a text go to, and what each expert takes')
    .description(
      'Records, for every token of a text and every router of a model, the chosen experts with their gates, and makes an ' +
        'atlas of the record: what each expert takes. The text is by default the held-out documents of the run.',
    )
    .argument('<run>', 'run directory, folder of a model of transformers, GGUF file, or a record for its atlas alone')
    .addOption(listOption('--data <source>', 'text to record: a corpus name, file, folder or glob, whole; repeatable'))
    .addOption(new Option('--out <folder>', 'new folder for the record'))
    .addOption(tokensOption('record at most this many tokens, in windows from all of the text (default: all)'))
    .addOption(
      new Option('--format <format>', 'format of the table: lines of JSON, or Parquet')
        .choices(rowFormats)
        .default('jsonl' satisfies RowFormat),
    )
    .addOption(
      new Option('--capacity <rule>', 'capacity of experts: of training, of evaluations, or unlimited')
        .choices(capacityRules)
        .default('none' satisfies CapacityRule),
    )
    .addOption(
      tokensOption('also measure how much the loss rises without each expert, on this many tokens', '--ablate <n>'),
    )
    .addOption(
      new Option(
        '--replay <record>',
        'a record of the same text, or a file of routes of vLLM or SGLang, whose experts take the place of the choices of the model',
      ),
    )
    .addOption(
      new Option('--compare <folder>', 'another record of the same text: how often both choose the same experts'),
    )
    .addOption(
      new Option(
        '--export <file>',
        'write a record as vLLM returns routes: lines of JSON with arrays of NumPy',
      ).conflicts('compare'),
    )
  withModelOptions(command)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir routing runs/demo --out routes/demo
  choir routing runs/demo --data 'books/*.txt' --tokens 200k --out routes/books --format parquet
  choir routing OLMoE-1B-7B-0924 --weights int4 --data sotu --tokens 50k --out routes/olmoe
  choir routing runs/demo --capacity train --out routes/drops
  choir routing runs/demo --out routes/ablated --ablate 20k     what each expert is worth
  choir routing runs/demo --out routes/replayed --replay routes/int8   the loss with the routes of a record
  choir routing OLMoE-1B-7B-0924 --data prompts.jsonl --replay vllm.jsonl --out routes/vllm   routes of vLLM
  choir routing routes/demo --export routes.jsonl    routes for programs that read those of vLLM
  choir routing routes/demo                 the atlas of a record, made again
  choir routing routes/demo --compare routes/int8    how often two records have the same experts

The record is routes.json, which describes model, text and routers, and routes.jsonl or routes.parquet
with a row for each token and each router: the chosen experts, their gates, the entropy of the router,
and the experts that refused the token because they were full. The text is read as in choir eval, so the
loss is the same. The atlas is atlas.html, a page to look at, and atlas.json: the load of each expert, the
tokens and domains that it takes more often than the mean expert does (lift; 1 is no preference), and the
experts that it is chosen together with. docs/routes.md describes every field.`,
    )
    .action((directory: string, flags: RoutingFlags) => run(io, directory, flags))
}

async function run(io: Io, directory: string, flags: RoutingFlags): Promise<void> {
  const { out, json } = flags
  const onMessage: OnMessage = (event) => {
    if (event.kind === 'notice' && json) writeJson(io, event)
    else if (event.kind !== 'prepare') printNote(io, event.message)
    else if (!json) io.stderr.write(`  ${event.message}\n`)
  }
  if (flags.compare !== undefined) return compare(io, directory, flags.compare, flags)
  if (flags.export !== undefined) return exportRoutes(io, directory, flags.export, flags)
  if (holdsRoutes(directory))
    return untilInterrupted(io, (signal) => again(io, directory, flags, { signal, onMessage }))
  if (out === undefined) throw new UsageError('missing --out (expected a new folder, such as routes/demo)')
  const { data, json: _, ...options } = flags
  const [only, ...more] = data ?? []
  const source = only === undefined ? {} : { source: more.length === 0 ? only : [only, ...more] }
  await untilInterrupted(io, async (signal) => {
    const header = await io.operations.recordRoutes(directory, { ...options, ...source, out, signal, onMessage })
    if (json) writeJson(io, routingEvent(header, out))
    else print(io, labelled(rowsOf(header, out, data), colorsFor(io.stdout, io.env)))
    await atlas(io, out, json === true, { signal, onMessage })
  })
}

/** Makes the atlas of a record that exists. */
async function again(io: Io, folder: string, flags: RoutingFlags, options: AtlasOptions): Promise<void> {
  refuseOptions(flags, `${formatValue(folder)} is a record, whose atlas is made again`)
  await atlas(io, folder, flags.json === true, options)
}

async function compare(io: Io, first: string, second: string, flags: RoutingFlags): Promise<void> {
  refuseOptions(flags, '--compare reads records, and computes nothing')
  const found = await untilInterrupted(io, (signal) => io.operations.compareRoutes(first, second, { signal }))
  if (flags.json) return writeJson(io, found)
  print(io, comparisonText(found, colorsFor(io.stdout, io.env), columnsOf(io.stdout)))
}

async function exportRoutes(io: Io, folder: string, file: string, flags: RoutingFlags): Promise<void> {
  refuseOptions(flags, '--export reads a record, and computes nothing')
  const lines = await untilInterrupted(io, (signal) => io.operations.writeResponses(folder, file, { signal }))
  if (flags.json) return writeJson(io, { kind: 'routes_file', file, lines })
  print(io, labelled([['file', `${file}, ${plural(lines, 'line')}`]], colorsFor(io.stdout, io.env)))
}

/** Refuses options of a recording where nothing is recorded. */
function refuseOptions(flags: RoutingFlags, reason: string): void {
  const given = (
    ['data', 'out', 'tokens', 'ablate', 'replay', 'checkpoint', 'device', 'threads', 'math'] as const
  ).find((name) => flags[name] !== undefined)
  if (given !== undefined) throw new UsageError(`--${given} has no effect: ${reason}`)
}

async function atlas(io: Io, folder: string, json: boolean, options: AtlasOptions): Promise<void> {
  const made = await io.operations.writeAtlas(folder, options)
  if (json) return writeJson(io, atlasEvent(made, folder))
  const colors = colorsFor(io.stdout, io.env)
  print(io, atlasText(made, colors, columnsOf(io.stdout)))
  print(io, labelled([['atlas', `${folder}/${PAGE_FILE} to look at, ${folder}/${ATLAS_FILE} for programs`]], colors))
}

/** The routers of an atlas; its experts are in its file. */
const atlasEvent = ({ tokens, documents, groups, domains, routers }: Atlas, out: string) => ({
  kind: 'atlas',
  out,
  file: ATLAS_FILE,
  page: PAGE_FILE,
  tokens,
  documents,
  groups,
  domains,
  routers: routers.map(({ of: _, ...router }) => router),
})

const routingEvent = (
  { capacity, loss, replayed, imported, tokens, routers, documents, file }: RoutesHeader,
  out: string,
) => ({
  kind: 'routing',
  out,
  file,
  capacity,
  loss,
  ...(replayed && { replayed: nameOf(replayed) }),
  ...(imported !== undefined && { imported }),
  tokens,
  documents: documents.length,
  routers,
})

function rowsOf(header: RoutesHeader, out: string, data?: string[]) {
  const { model, text, tokens, loss, routers, documents, file, replayed, imported } = header
  const experts = replayed ? nameOf(replayed) : imported
  const of = tokens < text.tokens ? ` of ${grouped(text.tokens)}` : ''
  return [
    ['tokens', `${grouped(tokens)}${of}, from ${plural(documents.length, 'document')}`],
    ['routers', `${routers.length}, in ${plural(new Set(routers.map(({ layer }) => layer)).size, 'layer')}`],
    ['loss', `${fixed(loss, 4)} nats a token${experts === undefined ? '' : `, with the experts of ${experts}`}`],
    ['text', data?.join(', ') ?? 'held-out documents'],
    ['model', nameOf(model)],
    ['record', `${out}/${file}, described by routes.json`],
  ] as const
}

const nameOf = ({ directory, step, weights }: RoutesHeader['model']): string =>
  `${directory}, step ${grouped(step)}${weights === 'float32' ? '' : `, ${weights}`}`
