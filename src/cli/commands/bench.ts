/**
 * `choir bench`: what this machine makes of the benchmark shapes. Each routing runs in a process of
 * its own, since the peak memory of a process only ever grows.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { type BenchmarkRouting, benchmarkRoutings, routingSets } from '../../config/presets.ts'
import { listOf, suggestion } from '../../config/problems.ts'
import { UsageError } from '../../errors.ts'
import type { BenchmarkResult } from '../../measure/benchmark.ts'
import type { StepProfile } from '../../measure/step-profile.ts'
import { loadConfig } from '../../run/load-config.ts'
import { bytes, count, fixed, percent } from '../../text/numbers.ts'
import { type Colors, colorsFor, Interrupted, type Io, interruptible, writeJson } from '../io.ts'
import { table } from '../layout.ts'
import { type MeasuredMachine, machineText, measureApart } from '../machine.ts'
import {
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
import { profileText } from '../profile.ts'
import { lowerBoundNote } from '../summary.ts'
import { writeTrace } from '../trace.ts'

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

/** What a process prints with --json, a line each. */
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
    .summary('measure this machine')
    .description(
      'Measures the matmul rate and memory bandwidth of this machine, then tokens a second, time a step, MFU and peak memory of each routing.',
    )
    .addOption(new Option('--shape <name>', 'shape of the model').choices(['tiny', 'S', 'M']).default('S'))
    .addOption(listOption('--only <routing>', `one of ${routings.join(', ')}; repeatable`))
    .addOption(numberOption('--steps <n>', 'steps that are timed', ranges.positiveInteger).default(10))
    .addOption(threadsOption())
    .addOption(mathOption())
    .option('--ceilings', 'measure matmul rate and memory bandwidth only')
    .option('--profile', 'show where the time of a step goes (of top-1, or of what --only names)')
    .addOption(traceOption())
    .option('--out <file>', 'JSON report to write (default: bench/results/SHAPE.json)')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir bench
  choir bench --shape M --steps 5 --math bf16
  choir bench --only top-1 --only "2 top-1 1x" --json
  choir bench --shape M --profile --trace step.json

MFU (model FLOPs utilisation) is the rate of the model's operations over the matmul rate of this machine, the best
of a measurement before the steps and one after; 100 % at most. Attention counts every pair of tokens, the half that
causality masks included; dropped assignments and padding do not count.`,
    )
    .action((flags: BenchFlags) => run(io, flags))
}

async function run(io: Io, flags: BenchFlags): Promise<void> {
  const names = routingsOf(flags)
  if (flags.ceilings) return ceilings(io, flags)
  const colors = colorsFor(io.stdout, io.env)
  let machine: MeasuredMachine | undefined
  if (!flags.json) {
    io.stderr.write('  ceilings ...\n')
    machine = await measureApart(io, flags)
    if (machine.notice !== undefined) io.stderr.write(`choir: ${machine.notice}\n`)
    io.stdout.write(machineText(machine, io, colors))
  }
  const rows: Row[] = []
  const profiles: ProfileLine[] = []
  let noticed = false
  for (const name of names) {
    if (!flags.json) io.stderr.write(`  ${flags.shape}, ${name} ...\n`)
    for (const line of names.length === 1 ? await measure(io, flags, name) : await measureRouting(io, flags, name)) {
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
  if (flags.json && flags.out === undefined) return
  const file = flags.out ?? join('bench', 'results', `${flags.shape}.json`)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, `${JSON.stringify({ machine: { ...computer(), ...machine }, rows }, undefined, 2)}\n`)
  if (!flags.json) io.stdout.write(`\n  ${file}\n`)
}

/** What is measured: all, or what `--only` names; a recording is long to read and slows steps, so one by default. */
function routingsOf({ only, profile, trace }: BenchFlags): readonly BenchmarkRouting[] {
  for (const name of only ?? [])
    if (!Object.hasOwn(benchmarkRoutings, name))
      throw new UsageError(`invalid --only: "${name}" (expected ${listOf(routings)}${suggestion(name, routings)})`)
  if (trace !== undefined && only !== undefined && only.length > 1)
    throw new UsageError(`invalid --trace: "${trace}" is one file for ${only.length} routings (give --only once)`)
  if (only) return only as readonly BenchmarkRouting[]
  return profile || trace !== undefined ? ['top-1'] : routings
}

async function ceilings(io: Io, flags: BenchFlags): Promise<void> {
  if (!flags.json) {
    const machine = await measureApart(io, flags)
    if (machine.notice !== undefined) io.stderr.write(`choir: ${machine.notice}\n`)
    io.stdout.write(machineText(machine, io, colorsFor(io.stdout, io.env)))
    return
  }
  writeJson(io, { kind: 'machine', ...(await io.operations.measureMachine(await configOf(flags, []))) })
}

const configOf = (flags: BenchFlags, sets: readonly string[]) =>
  loadConfig(flags.shape, [...sets, ...engineSets(flags)])

/** In this process; a trace is written as well. */
async function measure(io: Io, flags: BenchFlags, routing: BenchmarkRouting): Promise<Line[]> {
  const { shape, steps } = flags
  const config = await configOf(flags, routingSets(routing))
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

/** In a process of its own. */
async function measureRouting(io: Io, flags: BenchFlags, routing: BenchmarkRouting): Promise<Line[]> {
  const args = ['bench', '--shape', flags.shape, '--only', routing, '--steps', String(flags.steps)]
  const text = await io.runSelf([...args, ...engineArgs(flags), ...(flags.profile ? ['--profile'] : []), '--json'])
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
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
  return [
    '',
    `  ${size}`,
    '',
    ...table([head.map((title) => colors.dim(title)), ...lines], 'lrrrrrrr').map((line) => `  ${line}`),
    ...notes,
    '',
  ].join('\n')
}

function computer() {
  const [cpu] = cpus()
  return {
    cpu: cpu?.model ?? 'unknown',
    logicalCores: cpus().length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    date: new Date().toISOString(),
  }
}
