/**
 * Choir and a peer, step for step, on the same machine in the same run.
 *
 *   npm run bench                                  Choir alone: `choir bench`
 *   npm run bench -- --peer pytorch [--shape M]    in turn with PyTorch
 *
 * Each routing runs in a process of its own (a process's peak memory only grows), and in it the two
 * take turns of a few steps, so that a busy moment of the machine hits both. How much there is to
 * compute depends on how many assignments are kept. PyTorch is given a perfectly even load; Choir routes
 * for real, its balancing loss at work from the first step. The kept share of both is printed.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { RunConfig } from '../src/train/config.ts'
import { TrainingBench } from '../src/train/index.ts'
import { loadConfig } from '../src/train/load-config.ts'
import { type BenchmarkRouting, benchmarkRoutings, routingSets } from '../src/train/presets.ts'
import { median } from '../src/train/statistics.ts'
import { blasWarning, type PeerVariant, PyTorchPeer } from './peers/pytorch.ts'

const peerVariant: Readonly<Record<BenchmarkRouting, PeerVariant>> = {
  'top-1': 'top1',
  'top-2 kx': 'top2',
  '2 top-1 kx': '2top1-kx',
  '2 top-1 1x': '2top1-1x',
  '4 top-1 1x': '4top1-1x',
  dropless: 'dropless-top1',
}

interface Side {
  readonly stepMs: number
  readonly gradientMs: number
  readonly updateMs: number
  readonly keptShare: number
  readonly peakMiB: number
}

interface Row {
  readonly shape: string
  readonly routing: string
  readonly choir: Side & { readonly mfu: number; readonly peakGflops: number }
  readonly pytorch: Side
  /** Tokens a second of Choir over the peer's; above 1 is faster. */
  readonly speedRatio: number
  readonly memoryRatio: number
}

const WARM_UP = 8
const TURN = 2

const { values: flags } = parseArgs({
  options: {
    peer: { type: 'string' },
    shape: { type: 'string', default: 'S' },
    turns: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(cpus().length) },
    only: { type: 'string', multiple: true },
    /** Internal: measure one routing in this process and print its row. */
    apart: { type: 'string' },
    out: { type: 'string' },
  },
  allowPositionals: false,
})

if (flags.apart !== undefined)
  process.stdout.write(`${JSON.stringify(await measure(flags.apart as BenchmarkRouting))}\n`)
else if (flags.peer === undefined) alone()
else if (flags.peer === 'pytorch') compare()
else {
  process.stderr.write(`bench: invalid --peer: "${flags.peer}" (expected pytorch)\n`)
  process.exitCode = 2
}

function alone(): void {
  const choir = fileURLToPath(new URL('../bin/choir.js', import.meta.url))
  const only = (flags.only ?? []).flatMap((routing) => ['--only', routing])
  const args = [choir, 'bench', '--shape', flags.shape, '--threads', flags.threads, ...only]
  process.exitCode = spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1
}

function compare(): void {
  const routings = flags.only ?? Object.keys(benchmarkRoutings)
  const rows = routings.map((routing) => {
    process.stderr.write(`  ${flags.shape}, ${routing} ...\n`)
    const args = [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2), '--apart', routing]
    return JSON.parse(
      execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }),
    ) as Row
  })
  process.stdout.write(table(rows))
  const file = flags.out ?? join('bench', 'results', `pytorch-${flags.shape}.json`)
  mkdirSync(dirname(file), { recursive: true })
  const machine = { cpu: cpus()[0]?.model, threads: Number(flags.threads), node: process.version, date: new Date() }
  writeFileSync(file, `${JSON.stringify({ machine, rows }, null, 2)}\n`)
  process.stdout.write(`\n  ${file}\n`)
}

async function measure(routing: BenchmarkRouting): Promise<Row> {
  const config = await loadConfig(flags.shape, [...routingSets(routing), `runtime.threads=${flags.threads}`])
  const peer = await PyTorchPeer.start(shapeOf(config), peerVariant[routing], {
    threads: Number(flags.threads),
    balanced: true,
  })
  const warning = blasWarning(peer.info)
  if (warning) process.stderr.write(`  warning: ${warning}\n`)
  const bench = await TrainingBench.open(config)
  await peer.run(WARM_UP)
  await bench.run(WARM_UP)
  const ours: Awaited<ReturnType<typeof bench.run>> = []
  const theirs: Awaited<ReturnType<typeof peer.run>>[] = []
  for (let turn = 0; turn < Number(flags.turns); turn++) {
    theirs.push(await peer.run(TURN))
    ours.push(...(await bench.run(TURN)))
  }
  await peer.stop()
  const result = bench.result(ours)
  await bench.close()

  const choir = {
    stepMs: result.stepMs,
    gradientMs: result.gradientMs,
    updateMs: result.updateMs,
    keptShare: 1 - result.dropRate,
    peakMiB: process.resourceUsage().maxRSS / 1024,
    mfu: result.mfu,
    peakGflops: result.peakFlops / 1e9,
  }
  const pytorch = {
    stepMs: median(theirs.flatMap(({ stepMs }) => stepMs)),
    gradientMs: median(theirs.flatMap(({ gradientMs }) => gradientMs)),
    updateMs: median(theirs.flatMap(({ updateMs }) => updateMs)),
    keptShare: median(theirs.map(({ keptShare }) => keptShare)),
    peakMiB: Math.max(...theirs.map(({ peakMiB }) => peakMiB ?? Number.NaN)),
  }
  return {
    shape: flags.shape,
    routing,
    choir,
    pytorch,
    speedRatio: pytorch.stepMs / choir.stepMs,
    memoryRatio: choir.peakMiB / pytorch.peakMiB,
  }
}

function shapeOf({ model, train }: RunConfig) {
  const { layers, width, heads, vocabulary, sequence, moe } = model
  const { experts, hidden } = moe as NonNullable<typeof moe>
  return { layers, width, heads, vocabulary, sequence, experts, hidden, batch: train.batch }
}

function table(rows: readonly Row[]): string {
  const head = ['routing', 'Choir ms', 'PyTorch ms', 'speed ×', 'kept', 'kept (PyTorch)', 'MFU', 'memory ×']
  const cells = rows.map(({ routing, choir, pytorch, speedRatio, memoryRatio }) => [
    routing,
    choir.stepMs.toFixed(0),
    pytorch.stepMs.toFixed(0),
    speedRatio.toFixed(2),
    choir.keptShare.toFixed(3),
    pytorch.keptShare.toFixed(3),
    `${(choir.mfu * 100).toFixed(0)}%`,
    memoryRatio.toFixed(2),
  ])
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => (row[i] as string).length)))
  const line = (row: readonly string[]) =>
    `  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join('  ')}`
  return `\n${[head, ...cells].map(line).join('\n')}\n`
}
