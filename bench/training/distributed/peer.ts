/**
 * Compares Choir and PyTorch on two ranks, one thread each, in turns: on one machine, where PyTorch's Gloo (its library
 * of transfers) uses TCP too, and over links. As in measure/compare.ts, PyTorch has a perfectly even load, and Choir
 * routes tokens.
 */
import { fileURLToPath } from 'node:url'
import { median } from '../../../src/core/averages.ts'
import { fixed } from '../../../src/core/text/numbers.ts'
import { loadConfig } from '../../../src/node/run/load-config.ts'
import { peerShape } from '../../measure/compare.ts'
import { findPyTorch, peerEnvironment } from '../../peers/python.ts'
import { expectDocumented, type PeerInfo, type PeerShape, shapeFlags } from '../../peers/pytorch.ts'
import { tableText } from '../../support/command.ts'
import { Results, resultFile, shownPath, today } from '../../support/results.ts'
import { linkLayouts } from './links.ts'
import { memoryOf, type RankSteps, stepTimes } from './summary.ts'
import { alternate, type Layout, type Setting, startTraining } from './training.ts'
import { type Place, World } from './world.ts'

interface Side {
  readonly stepMs: number
  readonly keptShare: number
  readonly peakMiB: number
  readonly times: readonly number[]
}

export interface PeerRow {
  readonly layout: string
  readonly place: 'one machine' | 'link'
  readonly shape: string
  readonly library: string
  readonly date: string
  readonly rate: number
  readonly choir: Side
  readonly pytorch: Side & { readonly torch: string }
  /** Choir's tokens per second over the peer's. */
  readonly speedRatio: number
  readonly memoryRatio: number
}

const program = fileURLToPath(new URL('../../peers/pytorch_ranks.py', import.meta.url))

export async function comparePeer(setting: Setting, rate: number): Promise<void> {
  const { shape } = setting
  const file = resultFile(`distributed-pytorch-${shape}`, shape === 'tiny')
  const results = await Results.open<PeerRow>(file, (row) => `${row.library}, ${row.layout}, ${row.place}`)
  for (const layout of linkLayouts.filter(({ ranks }) => ranks === 2))
    for (const place of ['one machine', 'link'] as const) {
      process.stderr.write(`  ${layout.name}, ${place} ...\n`)
      await results.put(await measure(setting, rate, layout, place))
    }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

async function measure(
  { shape, pace, place }: Setting,
  rate: number,
  layout: Layout,
  where: PeerRow['place'],
): Promise<PeerRow> {
  const here = where === 'link' ? { ...place, rate } : place
  let torch = ''
  const startPeer = async () => {
    const world = await startPyTorch(peerShape(await loadConfig(shape, [])), here, layout)
    const [first] = world.hello as [Pick<PeerInfo, 'torch' | 'libraries' | 'mkl' | 'threads' | 'compiled'>]
    expectDocumented(first, { threads: 1, compiled: false })
    torch = first.torch
    return world
  }
  const [ours = [], theirs = []] = await alternate(
    [() => startTraining({ shape, place: here }, layout), startPeer],
    pace,
  )
  const [choir, pytorch] = [sideOf(ours), sideOf(theirs)]
  return {
    layout: layout.name,
    place: where,
    shape,
    library: place.library,
    date: today(),
    rate,
    choir,
    pytorch: { torch, ...pytorch },
    speedRatio: pytorch.stepMs / choir.stepMs,
    memoryRatio: choir.peakMiB / pytorch.peakMiB,
  }
}

/** @param size Sizes of the model, and the batch of all ranks together. @throws RunError if PyTorch is missing */
export async function startPyTorch(size: PeerShape, place: Place, { ranks, expert }: Layout): Promise<World> {
  const env = { ...peerEnvironment(1), GLOO_SOCKET_IFNAME: place.rate === undefined ? 'lo' : 'eth0' }
  // Machines do not inherit variables.
  const set = Object.entries(env).flatMap(([name, value]) =>
    value === undefined || value === process.env[name] ? [] : [`${name}=${value}`],
  )
  const unset = Object.keys(process.env).flatMap((name) => (name in env ? [] : ['-u', name]))
  const python = ['env', ...unset, ...set, await findPyTorch(), program]
  const args = [...shapeFlags(size), '--expert', String(expert)]
  return World.start({ ...place, ranks, name: 'the PyTorch peer', program: python, args })
}

function sideOf(turns: readonly (readonly RankSteps[])[]): Side {
  const times = stepTimes(turns)
  const kept = turns.flatMap(([first]) => first?.steps.map(({ keptShare }) => keptShare) ?? [])
  const { peakBytes } = memoryOf(turns.at(-1) ?? [])
  return { stepMs: median(times), keptShare: median(kept), peakMiB: peakBytes / 2 ** 20, times }
}

function report(rows: readonly PeerRow[]): string {
  const head = ['MPI', 'layout', 'place', 'Choir ms', 'PyTorch ms', 'speed ×', 'kept', 'kept (PyTorch)', 'memory ×']
  const cells = rows.map(({ library, layout, place, choir, pytorch, speedRatio, memoryRatio }) => [
    library,
    layout,
    place,
    fixed(choir.stepMs, 0),
    fixed(pytorch.stepMs, 0),
    fixed(speedRatio, 2),
    fixed(choir.keptShare, 3),
    fixed(pytorch.keptShare, 3),
    fixed(memoryRatio, 2),
  ])
  return tableText([head, ...cells], 'lllrrrrrr')
}
