/**
 * `choir bench`: what this machine makes of the benchmark shapes. Each routing runs in a process of
 * its own, since the peak memory of a process only ever grows.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { UsageError } from '../../errors.ts'
import { listOf, suggestion } from '../../train/config-problems.ts'
import type { BenchmarkResult } from '../../train/index.ts'
import { loadConfig } from '../../train/load-config.ts'
import { type BenchmarkRouting, benchmarkRoutings, routingSets } from '../../train/presets.ts'
import { bytes, count, fixed, flops, percent, table } from '../format.ts'
import { colorsFor, Interrupted, type Io, interruptible, writeJson } from '../io.ts'
import { jsonOption, listOption, numberOption, ranges, threadsOption } from '../options.ts'

interface BenchFlags {
  readonly shape: string
  readonly only?: readonly string[]
  readonly steps: number
  readonly threads?: number
  readonly out?: string
  readonly json?: true
}

/** One line of the report. */
interface Row extends BenchmarkResult {
  readonly kind: 'bench'
  readonly shape: string
  readonly routing: string
  readonly peakBytes: number
}

const routings = Object.keys(benchmarkRoutings) as BenchmarkRouting[]

export function addBench(program: Command, io: Io): void {
  program
    .command('bench')
    .summary('measure this machine')
    .description(
      'Measures the float32 matmul rate of this machine, then tokens a second, time a step, MFU and peak memory of each routing.',
    )
    .addOption(new Option('--shape <name>', 'shape of the model').choices(['tiny', 'S', 'M']).default('S'))
    .addOption(listOption('--only <routing>', `one of ${routings.join(', ')}; repeatable`))
    .addOption(numberOption('--steps <n>', 'steps that are timed', ranges.positiveInteger).default(10))
    .addOption(threadsOption())
    .option('--out <file>', 'JSON report to write (default: bench/results/SHAPE.json)')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir bench
  choir bench --shape M --steps 5
  choir bench --only top-1 --only "2 top-1 1x" --json`,
    )
    .action((flags: BenchFlags) => run(io, flags))
}

async function run(io: Io, flags: BenchFlags): Promise<void> {
  for (const name of flags.only ?? [])
    if (!Object.hasOwn(benchmarkRoutings, name))
      throw new UsageError(`invalid --only: "${name}" (expected ${listOf(routings)}${suggestion(name, routings)})`)
  const names = (flags.only ?? routings) as readonly BenchmarkRouting[]
  const rows: Row[] = []
  for (const name of names) {
    if (!flags.json) io.stderr.write(`  ${flags.shape}, ${name} ...\n`)
    const row = names.length === 1 ? await measure(io, flags, name) : await measureApart(io, flags, name)
    if (flags.json) writeJson(io, row)
    rows.push(row)
  }
  if (!flags.json) io.stdout.write(report(io, rows))
  if (flags.json && flags.out === undefined) return
  const file = flags.out ?? join('bench', 'results', `${flags.shape}.json`)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, `${JSON.stringify({ machine: machine(), rows }, undefined, 2)}\n`)
  if (!flags.json) io.stdout.write(`\n  ${file}\n`)
}

async function measure(io: Io, flags: BenchFlags, routing: BenchmarkRouting): Promise<Row> {
  const sets = routingSets(routing)
  if (flags.threads !== undefined) sets.push(`runtime.threads=${flags.threads}`)
  const config = await loadConfig(flags.shape, sets)
  return interruptible(io, async (signal) => {
    const result = await io.engine.benchmark(config, { steps: flags.steps, signal })
    if (signal.aborted) throw new Interrupted()
    const peakBytes = process.resourceUsage().maxRSS * 1024
    return { kind: 'bench', shape: flags.shape, routing, ...result, peakBytes }
  })
}

async function measureApart(io: Io, flags: BenchFlags, routing: BenchmarkRouting): Promise<Row> {
  const threads = flags.threads === undefined ? [] : ['--threads', String(flags.threads)]
  const args = [
    'bench',
    '--shape',
    flags.shape,
    '--only',
    routing,
    '--steps',
    String(flags.steps),
    ...threads,
    '--json',
  ]
  return JSON.parse(await io.runSelf(args)) as Row
}

function report(io: Io, rows: readonly Row[]): string {
  const colors = colorsFor(io.stdout, io.env)
  const best = Math.max(...rows.map((row) => row.peakFlops))
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
  const first = rows[0]
  const size = first ? `${first.shape}: ${count(first.parameters)} parameters` : ''
  return [
    '',
    `  ${size}; matmul ceiling ${flops(best)}/s in float32`,
    '',
    ...table([head.map((title) => colors.dim(title)), ...lines], 'lrrrrrrr').map((line) => `  ${line}`),
    '',
  ].join('\n')
}

function machine() {
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
