/**
 * Compares training steps of Choir and PyTorch on the same machine in the same run.
 *
 * For each routing two processes take turns of a few steps, so that a busy moment of the machine affects both. The
 * work depends on how many assignments are kept: PyTorch has a perfectly even load, Choir routes tokens with its
 * balancing loss active from the first step. The kept share of both is part of the result.
 */

import { median } from '../../src/core/averages.ts'
import { type BenchmarkRouting, routingSets } from '../../src/core/config/presets.ts'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import { fixed, percent } from '../../src/core/text/numbers.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { expectDocumented, type PeerRun, type PeerShape, type PeerVariant, PyTorchPeer } from '../peers/pytorch.ts'
import { choiceName, type EngineChoice, TrainingProcess, TURN, WARM_UP } from '../support/choir.ts'
import { tableText } from '../support/command.ts'
import { using } from '../support/line-process.ts'
import { Results, resultFile, shownPath, thisMachine, today } from '../support/results.ts'

export const peerVariants: Readonly<Record<BenchmarkRouting, PeerVariant>> = {
  'top-1': 'top1',
  'top-2 kx': 'top2',
  '2 top-1 kx': '2top1-kx',
  '2 top-1 1x': '2top1-1x',
  '4 top-1 1x': '4top1-1x',
  dropless: 'dropless-top1',
}

export interface CompareOptions extends EngineChoice {
  readonly shape: string
  readonly routings: readonly BenchmarkRouting[]
  readonly turns: number
  /** Compares with PyTorch's autocast instead of a step written by hand. */
  readonly autocast?: boolean
  readonly out?: string
}

/** Medians over the timed steps. */
interface Side {
  readonly stepMs: number
  readonly gradientMs: number
  readonly updateMs: number
  readonly keptShare: number
  readonly peakMiB: number
}

export interface CompareRow extends EngineChoice {
  readonly shape: string
  readonly routing: BenchmarkRouting
  readonly date: string
  readonly choir: Side & { readonly provider: string; readonly mfu: number; readonly peakGflops: number }
  readonly pytorch: Side & { readonly torch: string; readonly compiled: boolean }
  /** Choir's tokens per second divided by the peer's; above 1, Choir is faster. */
  readonly speedRatio: number
  readonly memoryRatio: number
}

/** Name of a results file: `pytorch-M-bf16`, `pytorch-S-float32-onnxruntime`, `autocast-S-bf16`. */
export const compareName = (options: Pick<CompareOptions, 'shape' | 'math' | 'engine' | 'autocast'>): string =>
  `${options.autocast ? 'autocast' : 'pytorch'}-${options.shape}-${choiceName(options)}`

export async function compare(options: CompareOptions): Promise<void> {
  const file = options.out ?? resultFile(compareName(options), options.shape === 'tiny')
  const results = await Results.open<CompareRow>(file, ({ routing }) => routing, thisMachine(options.threads))
  for (const routing of options.routings) {
    process.stderr.write(`  ${options.shape}, ${options.math}, ${routing} ...\n`)
    await results.put(await measure(routing, options))
  }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

async function measure(routing: BenchmarkRouting, options: CompareOptions): Promise<CompareRow> {
  const { shape, math, engine, threads, autocast = false } = options
  const sets = routingSets(routing)
  const size = peerShape(await loadConfig(shape, sets))
  const settings = { threads, balanced: true, precision: math, autograd: autocast }
  return using(TrainingProcess.start(shape, sets, options), (choir) =>
    using(PyTorchPeer.start(size, peerVariants[routing], settings), async (peer) => {
      // The float32 peer is written by hand and uses no compiler.
      expectDocumented(peer.info, { threads, compiled: math === 'bf16' || autocast })
      const { choirResult, peerRuns } = await alternate(choir, peer, options.turns)
      const { stepMs, gradientMs, updateMs, dropRate, peakBytes, mfu, peakFlops, provider } = choirResult
      const memory = { peakMiB: peakBytes / 2 ** 20, keptShare: 1 - dropRate }
      const { torch, compiled } = peer.info
      const pytorch = { torch, compiled, ...peerSide(peerRuns) }
      return {
        shape,
        routing,
        math,
        engine,
        threads,
        date: today(),
        choir: { provider, stepMs, gradientMs, updateMs, ...memory, mfu, peakGflops: peakFlops / 1e9 },
        pytorch,
        speedRatio: pytorch.stepMs / stepMs,
        memoryRatio: memory.peakMiB / pytorch.peakMiB,
      }
    }),
  )
}

async function alternate(choir: TrainingProcess, peer: PyTorchPeer, turns: number) {
  await peer.run(WARM_UP)
  await choir.warmUp(WARM_UP)
  const peerRuns = [await peer.run(TURN)]
  let choirResult = await choir.run(TURN)
  for (let turn = 1; turn < turns; turn++) {
    peerRuns.push(await peer.run(TURN))
    choirResult = await choir.run(TURN)
  }
  return { choirResult, peerRuns }
}

function peerSide(runs: readonly PeerRun[]): Side {
  return {
    stepMs: median(runs.flatMap(({ stepMs }) => stepMs)),
    gradientMs: median(runs.flatMap(({ gradientMs }) => gradientMs)),
    updateMs: median(runs.flatMap(({ updateMs }) => updateMs)),
    keptShare: median(runs.map(({ keptShare }) => keptShare)),
    peakMiB: Math.max(...runs.map(({ peakMiB }) => peakMiB ?? Number.NaN)),
  }
}

export function peerShape({ model, train }: RunConfig): PeerShape {
  const { layers, width, heads, vocabulary, sequence, moe } = model
  if (!moe) throw new Error('internal: a benchmark shape without experts')
  return { layers, width, heads, vocabulary, sequence, experts: moe.experts, hidden: moe.hidden, batch: train.batch }
}

function report(rows: readonly CompareRow[]): string {
  const head = ['routing', 'Choir ms', 'PyTorch ms', 'speed ×', 'kept', 'kept (PyTorch)', 'MFU', 'memory ×']
  const cells = rows.map(({ routing, choir, pytorch, speedRatio, memoryRatio }) => [
    routing,
    fixed(choir.stepMs, 0),
    fixed(pytorch.stepMs, 0),
    fixed(speedRatio, 2),
    fixed(choir.keptShare, 3),
    fixed(pytorch.keptShare, 3),
    percent(choir.mfu, 0),
    fixed(memoryRatio, 2),
  ])
  const [first] = rows
  const sides = first ? `\n  Choir on ${first.choir.provider}, ${first.math}; PyTorch ${first.pytorch.torch}\n` : ''
  return `${sides}${tableText([head, ...cells], 'lrrrrrrr')}`
}
