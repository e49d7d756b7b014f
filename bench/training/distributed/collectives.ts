/**
 * Measures the transfers between ranks of a training, without the training. Over shared memory they are compared with
 * MPI alone, which is called without the courier (the thread that calls MPI) and polls without a pause; over links,
 * with the time that the wire needs. The cost of the courier is measured too, as a share of a step.
 */
import { fileURLToPath } from 'node:url'
import { median } from '../../../src/core/averages.ts'
import { bytes, fixed, percent } from '../../../src/core/text/numbers.ts'
import { tableText } from '../../support/command.ts'
import { using } from '../../support/line-process.ts'
import { Results, resultFile, shownPath, today } from '../../support/results.ts'
import { stepTimes } from './summary.ts'
import { alternate, type Setting, startTraining } from './training.ts'
import { type Place, World } from './world.ts'

export interface CollectiveRow {
  readonly kind: string
  readonly library: string
  readonly ranks: number
  readonly date: string
  /** Bytes that each rank sends; it receives as many. */
  readonly bytes: number
  /** Median time of a call at the slowest rank. */
  readonly memoryMs: number
  readonly mpiMs: number
  readonly linkMs: number
  /** Time that the wire needs: bytes divided by the rate of the link. */
  readonly wireMs: number
  /** Bytes that links counted, divided by the bytes sent and received: about 1, since all of them cross a link. */
  readonly counted: number
}

/** The cost of handing orders to the courier, in a training. */
export interface HandOver {
  readonly shape: string
  readonly library: string
  readonly date: string
  /** Time that the courier adds to an exchange of 8 bytes over shared memory, compared with MPI alone. */
  readonly orderMs: number
  readonly orders: number
  readonly stepMs: number
  readonly share: number
}

interface Answer {
  readonly times: readonly number[]
  readonly linkBytes: number
}

const kinds = ['rows', 'gradients', 'parameters'] as const
const sizes = [2 ** 16, 2 ** 20, 2 ** 24, 2 ** 26]
const RANKS = 2
const program = fileURLToPath(new URL('./collectives-rank.mjs', import.meta.url))

const start = (place: Place, how: 'courier' | 'mpi'): Promise<World> =>
  World.start({ ...place, ranks: RANKS, name: how, program: [process.execPath, program], args: [how] })

export async function measureCollectives(setting: Setting, rate: number): Promise<void> {
  const { place, shape } = setting
  const file = resultFile('distributed-collectives', shape === 'tiny')
  const results = await Results.open<CollectiveRow>(file, (row) => `${row.library}, ${row.kind}, ${row.bytes}`)
  const orderMs = await using(start(place, 'courier'), (memory) =>
    using(start(place, 'mpi'), (mpi) =>
      using(start({ ...place, rate }, 'courier'), async (link) => {
        for (const kind of kinds)
          for (const size of sizes) {
            process.stderr.write(`  ${kind}, ${bytes(size)} ...\n`)
            const calls = Math.max(4, Math.min(100, Math.round(2 ** 25 / size)))
            await results.put(await measure({ kind, bytes: size, calls }, { memory, mpi, link }, setting, rate))
          }
        const small = { kind: 'rows', bytes: 8, calls: 2000 }
        return callMs(await memory.ask<Answer>(small)) - callMs(await mpi.ask<Answer>(small))
      }),
    ),
  )
  const shares = await Results.open<HandOver>(
    resultFile('distributed-hand-over', shape === 'tiny'),
    (row) => `${row.library}, ${row.shape}`,
  )
  await shares.put(await handOver(setting, orderMs))
  process.stdout.write(`${report(results.rows)}${handOverReport(shares.rows)}\n  ${shownPath(file)}\n`)
}

const callMs = (answers: readonly Answer[]): number => Math.max(...answers.map(({ times }) => median(times)))

async function measure(
  command: { readonly kind: string; readonly bytes: number; readonly calls: number },
  worlds: Readonly<Record<'memory' | 'mpi' | 'link', World>>,
  { place }: Setting,
  rate: number,
): Promise<CollectiveRow> {
  const memoryMs = callMs(await worlds.memory.ask<Answer>(command))
  // MPI alone transfers the same bytes at once.
  const mpiMs = callMs(await worlds.mpi.ask<Answer>({ ...command, kind: 'rows' }))
  const answers = await worlds.link.ask<Answer>(command)
  const counted = answers.reduce((sum, { linkBytes }) => sum + linkBytes, 0)
  return {
    kind: command.kind,
    library: place.library,
    ranks: RANKS,
    date: today(),
    bytes: command.bytes,
    memoryMs,
    mpiMs,
    linkMs: callMs(answers),
    wireMs: (8000 * command.bytes) / rate,
    counted: counted / (2 * RANKS * command.bytes),
  }
}

async function handOver({ shape, place, pace }: Setting, orderMs: number): Promise<HandOver> {
  const layout = { name: 'experts over 2', ranks: RANKS, expert: RANKS }
  const [turns = []] = await alternate([() => startTraining({ shape, place }, layout)], { ...pace, turns: 1 })
  const orders = Math.max(...(turns[0] ?? []).map((rank) => rank.orders))
  const stepMs = median(stepTimes(turns))
  return { shape, library: place.library, date: today(), orderMs, orders, stepMs, share: (orders * orderMs) / stepMs }
}

function report(rows: readonly CollectiveRow[]): string {
  const head = [
    'MPI',
    '',
    'bytes',
    'memory ms',
    'MPI alone ms',
    'of MPI',
    'link ms',
    'wire ms',
    'of the wire',
    'counted ×',
  ]
  const cells = rows.map(({ library, kind, bytes: size, memoryMs, mpiMs, linkMs, wireMs, counted }) => [
    library,
    kind,
    bytes(size),
    fixed(memoryMs, 2),
    fixed(mpiMs, 2),
    percent(mpiMs / memoryMs, 0),
    fixed(linkMs, 1),
    fixed(wireMs, 1),
    percent(wireMs / linkMs, 0),
    fixed(counted, 3),
  ])
  return tableText([head, ...cells], 'llrrrrrrrr')
}

function handOverReport(rows: readonly HandOver[]): string {
  const head = ['', 'µs an order', 'orders a step', 'step ms', 'share']
  const cells = rows.map(({ shape, orderMs, orders, stepMs, share }) => [
    shape,
    fixed(1000 * orderMs, 0),
    fixed(orders, 0),
    fixed(stepMs, 0),
    percent(share, 2),
  ])
  return tableText([head, ...cells], 'lrrrr')
}
