/** `choir inspect`: size and cost of a model, without training it. */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Command } from 'commander'
import { isPreset, presets } from '../../../core/config/presets.ts'
import { listWithOr } from '../../../core/config/problems.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { indented, table, titledTable } from '../../../core/text/columns.ts'
import { bytes, count, fixed, flops, grouped, percent } from '../../../core/text/numbers.ts'
import { loadConfig, loadRunConfig } from '../../../node/run/load-config.ts'
import { loadOrigin } from '../../../node/run/weights-source.ts'
import type { Origin } from '../../../train/run/origin.ts'
import { labelled } from '../display/display.ts'
import { print } from '../display/print.ts'
import { modelLine, originText, routingLine } from '../display/summary.ts'
import { type Colors, colorsFor, type Io } from '../io.ts'
import { writeJson } from '../json.ts'
import type { Description, SignalCheck } from '../operations.ts'
import { jsonOption, setOption } from '../options.ts'

interface InspectFlags {
  readonly set?: readonly string[]
  readonly json?: true
  readonly signal?: true
}

export function addInspect(program: Command, io: Io): void {
  program
    .command('inspect')
    .summary('show the size and cost of a model')
    .description(
      'Shows parameters, active parameters (those that compute a token), FLOPs per token, memory and tensors of a ' +
        'model, and with --signal whether its initialisation is sound.',
    )
    .argument('<run|config>', 'a run directory, a preset, or a YAML or JSON file')
    .addOption(setOption())
    .option('--signal', 'measure activations and gradients per layer, and the loss, of the untrained model')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir inspect demo
  choir inspect base --set model.moe.experts=64
  choir inspect demo --signal
  choir inspect runs/demo --json`,
    )
    .action((source: string, flags: InspectFlags) => run(io, source, flags))
}

async function run(io: Io, source: string, flags: InspectFlags): Promise<void> {
  const isRun = !isPreset(source) && existsSync(join(source, 'config.json'))
  if (isRun && flags.set)
    throw new UsageError(
      `invalid --set: ${source} is a run, and its configuration is fixed (inspect ${join(source, 'config.json')} to vary it)`,
    )
  const config = isRun ? await loadRunConfig(source) : await loadInspected(source, flags.set ?? [])
  const origin = isRun ? await loadOrigin(source) : null
  const description = await io.operations.describe(config)
  const signal = flags.signal && (await io.operations.signal(config))
  if (flags.json)
    return writeJson(io, {
      kind: 'description',
      ...description,
      ...(signal && { signal }),
      ...(origin && { from: origin }),
      config,
    })
  const colors = colorsFor(io.stdout, io.env)
  print(io, descriptionText(config, description, basename(source), origin, colors))
  if (signal) print(io, signalText(signal, colors))
}

/** @throws UsageError for a preset of the planner too, which has fields that a training lacks */
async function loadInspected(source: string, sets: readonly string[]): Promise<RunConfig> {
  if (!isPreset(source) && !existsSync(source)) {
    const { planPresets } = await import('../../../tools/plan/inputs/presets.ts')
    if (Object.hasOwn(planPresets, source))
      throw new UsageError(
        `invalid configuration: "${source}" is a preset of choir plan (expected ${listWithOr(Object.keys(presets))}, or a ` +
          `YAML or JSON file; see: choir plan ${source} --cluster NAME-COUNT)`,
      )
  }
  return loadConfig(source, sets)
}

function signalText({ stream, loss, uniformLoss, problems }: SignalCheck, colors: Colors): string {
  const rows = stream.map(({ depth, activation, gradient, tokenShare }) => [
    String(depth),
    fixed(activation, 3),
    gradient.toExponential(2),
    percent(tokenShare),
  ])
  const verdict = problems.length === 0 ? ['the initialisation is sound'] : problems
  return [
    '',
    `  ${colors.bold('signal of the untrained model')}, in the residual stream`,
    ...titledTable(['layers passed', 'activation', 'gradient', 'token'], rows, 'rrrr', colors),
    '',
    '  activation, gradient: root mean squares; sound if they vary by at most a factor of 3 over depth',
    '  token: share of the variance that the current token explains; sound if it is at least 50 %',
    `  initial loss ${fixed(loss, 3)}; uniform predictions have ${fixed(uniformLoss, 3)} (ln V, V = vocabulary)`,
    ...verdict.map((line) => `  ${problems.length === 0 ? colors.green('✓') : colors.yellow('!')} ${line}`),
    '',
    '',
  ].join('\n')
}

function descriptionText(
  config: RunConfig,
  description: Description,
  name: string,
  origin: Origin | null,
  colors: Colors,
): string {
  const { parameters, activeParameters, flopsPerToken, memory } = description
  const tokens = config.train.batch * config.model.sequence
  const facts: [string, string][] = [
    ['model', modelLine(config)],
    ['experts', routingLine(config)],
    [
      'parameters',
      `${colors.bold(count(parameters))}, of which ${colors.bold(count(activeParameters))} (${percent(activeParameters / parameters)}) are active for a token`,
    ],
    [
      'compute',
      `${flops(flopsPerToken)} per token, forward and backward; ${flops(flopsPerToken * tokens)} per step of ${grouped(tokens)} tokens`,
    ],
  ]
  if (origin)
    facts.push([
      'begun with',
      `${origin.fork ? 'the state' : 'the weights'} of ${originText(origin)} (SHA-256 ${origin.weights.slice(0, 12)})`,
    ])
  const total = memory.reduce((sum, item) => sum + item.bytes, 0)
  const memoryRows = [...memory.map((item) => [item.name, bytes(item.bytes)]), ['total', colors.bold(bytes(total))]]
  return [
    '',
    `  ${colors.bold(name)}`,
    labelled(facts, colors),
    `  ${colors.bold('memory of the training state')}`,
    ...indented(table(memoryRows, 'lr')),
    '',
    `  ${colors.bold('tensors')}`,
    ...tensorTable(description, colors),
    '',
  ].join('\n')
}

function tensorTable({ tensors, parameters }: Description, colors: Colors): string[] {
  const rows = groupedTensors(tensors).map(({ name, shape, copies, parameters: own }) => [
    name,
    shape.length === 0 ? 'scalar' : shape.join(' × '),
    copies > 1 ? `× ${copies}` : '',
    grouped(own),
    percent(own / parameters),
  ])
  return titledTable(['name', 'shape', 'layers', 'parameters', 'share'], rows, 'lllrr', colors)
}

interface TensorRow {
  name: string
  shape: readonly number[]
  copies: number
  parameters: number
}

/** Merges tensors that differ only in their layer number into one row, `layers.*.attention.output`. */
function groupedTensors(tensors: Description['tensors']): TensorRow[] {
  const rows = new Map<string, TensorRow>()
  for (const { name, shape, parameters } of tensors) {
    const pattern = name.replace(/(^|\.)\d+(?=\.|$)/, '$1*').replace('{e}', '*')
    const key = `${pattern} ${shape.join()}`
    const row = rows.get(key)
    if (row) {
      row.name = pattern
      row.copies++
      row.parameters += parameters
    } else rows.set(key, { name: name.replace('{e}', '*'), shape, copies: 1, parameters })
  }
  return [...rows.values()]
}
