/**
 * `choir bench`: speed and memory of the benchmark shapes on this machine. Each routing runs in a process of its
 * own, since the peak memory of a process never decreases.
 */
import { stat } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { type BenchmarkRouting, benchmarkRoutings, routingSets } from '../../../core/config/presets.ts'
import { listWithOr, suggestion } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { titledTable } from '../../../core/text/columns.ts'
import { bytes, count, fixed, percent } from '../../../core/text/numbers.ts'
import type { BenchmarkResult } from '../../../node/measure/benchmark.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { writeOutput } from '../../../node/system/output-file.ts'
import { describeProcessor } from '../../../node/system/processor.ts'
import { JSON_BYTES, readText } from '../../../node/system/read-text.ts'
import type { StepProfile } from '../../../train/measure/step-profile.ts'
import { print } from '../display/print.ts'
import { profileText } from '../display/profile.ts'
import { lowerBoundNote } from '../display/summary.ts'
import { type Colors, colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { parseJsonLines, writeJson } from '../json.ts'
import {
  deviceOption,
  type EngineFlags,
  engineArgs,
  engineSets,
  jsonOption,
  listOption,
  mathOption,
  numberOption,
  ranges,
  threadsOption,
  traceOption,
} from '../options.ts'
import { expectOutputs } from '../output-files.ts'
import { writeTrace } from '../trace.ts'
import { type MeasuredMachine, machineText, measureMachineInChild } from './machine.ts'

interface BenchFlags extends EngineFlags {
  readonly shape: string
  readonly only?: readonly string[]
  readonly steps: number
  readonly ceilings?: true
  readonly profile?: true
  readonly trace?: string
  readonly out?: string
  readonly json?: true
}

/** One line of the report. */
interface Row extends Omit<BenchmarkResult, 'profile' | 'trace' | 'notice'> {
  readonly kind: 'bench'
  readonly shape: string
  readonly routing: string
}

/** Other lines that a process prints with --json. */
interface ProfileLine extends StepProfile {
  readonly kind: 'profile'
  readonly shape: string
  readonly routing: string
}
interface NoticeLine {
  readonly kind: 'notice'
  readonly message: string
}
type Line = Row | ProfileLine | NoticeLine

const routings = Object.keys(benchmarkRoutings) as BenchmarkRouting[]

export function addBench(program: Command, io: Io): void {
  program
    .command('bench')
    .summary('measure the speed of this machine')
    .description(
      'Measures the matmul rate and memory bandwidth of this machine. Then trains a benchmark model with several ' +
        'routings and reports tokens per second, time per step, MFU and peak memory of each.',
    )
    .addOption(new Option('--shape <name>', 'size of the model').choices(['tiny', 'S', 'M']).default('S'))
    .addOption(listOption('--only <routing>', `measure only this routing: ${routings.join(', ')}; repeatable`))
    .addOption(numberOption('--steps <n>', 'number of steps to time', ranges.positiveInteger).default(10))
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addOption(mathOption())
    .option('--ceilings', 'measure only the matmul rate and memory bandwidth')
    .option('--profile', 'show where the time of a step goes (for top-1, or for the routings of --only)')
    .addOption(traceOption())
    .option('--out <file>', 'JSON file to write results to (default: bench/results/SHAPE.json)')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir bench
  choir bench --shape M --steps 5 --math bf16
  choir bench --only top-1 --only "2 top-1 1x" --json
  choir bench --shape M --profile --trace step.json

MFU (model FLOPs utilisation) is the rate of the model's operations over the matmul rate of this
machine, at most 100 %; higher is better. The matmul rate is the better of two measurements, one
before the steps and one after. The half of attention that the causal mask hides counts as work of
the model; padding and dropped assignments do not.
Drop is the share of assignments of tokens to experts that full experts refused.`,
    )
    .action((flags: BenchFlags, command: Command) => {
      if (flags.ceilings) expectCeilingsAlone(command)
      return run(io, flags)
    })
}

async function run(io: Io, flags: BenchFlags): Promise<void> {
  const names = selectedRoutings(flags)
  if (flags.ceilings) return ceilings(io, flags)
  const file = flags.json ? flags.out : (flags.out ?? join('bench', 'results', `${flags.shape}.json`))
  await expectOutputs(['out', file, 'measurements'], ['trace', flags.trace, 'trace'])
  const kept = file === undefined ? [] : await otherRows(file, flags.shape, names)
  if (kept.length > 0 && flags.out !== undefined)
    throw new UsageError(
      `invalid --out: "${flags.out}" has rows that are not measured again: ${kept.join(', ')} (expected a new file; delete it, or name another)`,
    )
  const colors = colorsFor(io.stdout, io.env)
  let machine: MeasuredMachine | undefined
  if (!flags.json) {
    io.stderr.write('  ceilings ...\n')
    machine = await printMachine(io, flags)
  }
  const rows: Row[] = []
  const profiles: ProfileLine[] = []
  let noticed = false
  for (const name of names) {
    if (!flags.json) io.stderr.write(`  ${flags.shape}, ${name} ...\n`)
    for (const line of names.length === 1 ? await measure(io, flags, name) : await measureInChild(io, flags, name)) {
      if (line.kind === 'bench') rows.push(line)
      else if (line.kind === 'profile') profiles.push(line)
      else if (noticed) continue
      else noticed = true
      if (flags.json) writeJson(io, line)
    }
  }
  if (!flags.json) {
    io.stdout.write(report(rows, colors))
    for (const profile of profiles) {
      if (names.length > 1) io.stdout.write(`\n  ${colors.bold(profile.routing)}\n`)
      io.stdout.write(profileText(profile, colors, io.stdout.columns))
    }
    if (flags.trace !== undefined) io.stdout.write(`\n  ${flags.trace} (open it at ui.perfetto.dev)\n`)
  }
  if (file === undefined) return
  if (kept.length > 0)
    return void io.stdout.write(
      `\n  ${file} stays as it is, since it has rows that were not measured again: ${kept.join(', ')} (--out writes another file)\n`,
    )
  await writeOutput(file, `${JSON.stringify({ machine: { ...hardware(), ...machine }, rows }, undefined, 2)}\n`)
  if (!flags.json) io.stdout.write(`\n  ${file}\n`)
}

/** @throws UsageError if an option of the steps is given, which `--ceilings` does not measure */
function expectCeilingsAlone(command: Command): void {
  const given = ['shape', 'only', 'steps', 'profile', 'trace', 'out'].find(
    (name) => command.getOptionValueSource(name) === 'cli',
  )
  if (given !== undefined)
    throw new UsageError(`--${given} has no effect with --ceilings, which trains nothing and writes no file`)
}

/** The rows of an earlier file of results that a measurement of these routings would not replace. */
async function otherRows(file: string, shape: string, names: readonly string[]): Promise<string[]> {
  const existing = await stat(file).catch(() => null)
  if (!existing?.isFile() || existing.size === 0) return []
  const { rows } = await readResults(file)
  return rows.flatMap((row) =>
    row.shape !== shape ? [`${row.shape}, ${row.routing}`] : names.includes(row.routing) ? [] : [row.routing],
  )
}

async function readResults(file: string): Promise<{ readonly rows: readonly Row[] }> {
  try {
    return JSON.parse(await readText(file, JSON_BYTES))
  } catch (error) {
    throw new UsageError(
      `invalid --out: cannot read the results in "${file}": ${(error as Error).message} (delete it, or name another)`,
    )
  }
}

/**
 * The routings of `--only`, or all. Profiles are long and recording slows steps, so the default for a profile or a
 * trace is one routing.
 */
function selectedRoutings({ only, profile, trace }: BenchFlags): readonly BenchmarkRouting[] {
  for (const name of only ?? [])
    if (!Object.hasOwn(benchmarkRoutings, name))
      throw new UsageError(`invalid --only: "${name}" (expected ${listWithOr(routings)}${suggestion(name, routings)})`)
  if (trace !== undefined && only !== undefined && only.length > 1)
    throw new UsageError(`invalid --trace: "${trace}" is one file for ${only.length} routings (give --only once)`)
  if (only) return only as readonly BenchmarkRouting[]
  return profile || trace !== undefined ? ['top-1'] : routings
}

async function ceilings(io: Io, flags: BenchFlags): Promise<void> {
  if (!flags.json) await printMachine(io, flags)
  else writeJson(io, { kind: 'machine', ...(await io.operations.measureMachine(await benchConfig(flags, []))) })
}

async function printMachine(io: Io, flags: BenchFlags): Promise<MeasuredMachine> {
  const machine = await measureMachineInChild(io, flags)
  if (machine.notice !== undefined) io.stderr.write(`choir: ${machine.notice}\n`)
  print(io, machineText(machine, io, colorsFor(io.stdout, io.env)))
  return machine
}

const benchConfig = (flags: BenchFlags, sets: readonly string[]) =>
  loadConfig(flags.shape, [...sets, ...engineSets(flags)])

/** Measures in this process. Writes the trace if one was requested. */
async function measure(io: Io, flags: BenchFlags, routing: BenchmarkRouting): Promise<Line[]> {
  const { shape, steps } = flags
  const config = await benchConfig(flags, routingSets(routing))
  const recorded = flags.profile ?? flags.trace !== undefined
  return interruptible(io, async (signal) => {
    const { profile, trace, notice, ...row } = await io.operations.benchmark(config, {
      steps,
      profile: recorded,
      signal,
    })
    if (signal.aborted) throw new Interrupted()
    if (trace && flags.trace !== undefined) await writeTrace(flags.trace, `choir bench ${shape}, ${routing}`, trace)
    const lines: Line[] = [{ kind: 'bench', shape, routing, ...row }]
    if (notice !== undefined) lines.unshift({ kind: 'notice', message: notice })
    if (profile && flags.profile) lines.push({ kind: 'profile', shape, routing, ...profile })
    return lines
  })
}

async function measureInChild(io: Io, flags: BenchFlags, routing: BenchmarkRouting): Promise<Line[]> {
  const args = ['bench', '--shape', flags.shape, '--only', routing, '--steps', String(flags.steps)]
  const text = await io.runSelf([...args, ...engineArgs(flags), ...(flags.profile ? ['--profile'] : []), '--json'])
  return parseJsonLines(text) as Line[]
}

function report(rows: readonly Row[], colors: Colors): string {
  const head = ['routing', 'tokens/s', 'ms a step', 'gradient', 'update', 'MFU', 'drop', 'peak memory']
  const lines = rows.map((row) => [
    row.routing,
    count(row.tokensPerSecond),
    fixed(row.stepMs, 1),
    fixed(row.gradientMs, 1),
    fixed(row.updateMs, 1),
    percent(row.mfu, 0),
    percent(row.dropRate),
    bytes(row.peakBytes),
  ])
  const notes = rows.flatMap((row) => {
    const note = lowerBoundNote(row)
    return note === null ? [] : [`  ${colors.dim(`${row.routing}: matmul ceiling ${note}`)}`]
  })
  const first = rows[0]
  const size = first ? `${first.shape}: ${count(first.parameters)} parameters` : ''
  return ['', `  ${size}`, '', ...titledTable(head, lines, 'lrrrrrrr', colors), ...notes, ''].join('\n')
}

function hardware() {
  return {
    cpu: describeProcessor(),
    logicalCores: cpus().length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    date: new Date().toISOString(),
  }
}
