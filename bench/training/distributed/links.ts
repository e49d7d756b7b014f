/**
 * Measures training over links of a limited rate: how much of the time on the wire a step waits for. The same world on
 * one machine, over shared memory, stands for the step without communication; it computes the same losses.
 */
import { bytes, fixed, percent } from '../../../src/core/text/numbers.ts'
import { tableText } from '../../support/command.ts'
import { Results, resultFile, shownPath, today } from '../../support/results.ts'
import { type Exposure, exposureOf, lossesOf, stepTimes, type Transfers, transfersOf } from './summary.ts'
import { alternate, type Layout, type Setting, startTraining, type Variant, variants } from './training.ts'

export interface LinksRow extends Exposure, Transfers {
  readonly layout: string
  readonly variant: string
  readonly shape: string
  readonly library: string
  readonly date: string
  readonly rate: number
  /** Whether losses and norms on one machine have the same bits. */
  readonly sameLosses: boolean
  readonly linkTimes: readonly number[]
  readonly localTimes: readonly number[]
}

export const linkLayouts: readonly Layout[] = [
  { name: 'experts over 2', ranks: 2, expert: 2 },
  { name: 'batch over 2', ranks: 2, expert: 1 },
  { name: 'experts over 2, batch over 2', ranks: 4, expert: 2 },
]

export async function measureLinks(setting: Setting, rate: number): Promise<void> {
  const { shape, device = 'cpu' } = setting
  const onGpu = device === 'webgpu'
  const file = resultFile(`distributed-links-${onGpu ? 'gpu-' : ''}${shape}`, shape === 'tiny')
  const results = await Results.open<LinksRow>(file, (row) => `${row.library}, ${row.layout}, ${row.variant}`)
  // Ranks with GPUs do not share experts.
  for (const layout of linkLayouts.filter(({ expert }) => !onGpu || expert === 1))
    for (const variant of variants) {
      process.stderr.write(`  ${[layout.name, variant.name].filter(Boolean).join(', ')} ...\n`)
      await results.put(await measure(setting, rate, layout, variant))
    }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

async function measure(setting: Setting, rate: number, layout: Layout, variant: Variant): Promise<LinksRow> {
  const { shape, pace, place, device = 'cpu' } = setting
  const varied = { ...layout, sets: variant.sets }
  const [link = [], local = []] = await alternate(
    [{ ...place, rate }, place].map((place) => () => startTraining({ shape, place, device }, varied)),
    pace,
  )
  const [linkTimes, localTimes] = [stepTimes(link), stepTimes(local)]
  const transfers = transfersOf(link.at(-1) ?? [], rate)
  return {
    layout: layout.name,
    variant: variant.name,
    shape,
    library: place.library,
    date: today(),
    rate,
    ...transfers,
    ...exposureOf(linkTimes, localTimes, transfers.wireMs),
    sameLosses: lossesOf(link) === lossesOf(local),
    linkTimes,
    localTimes,
  }
}

function report(rows: readonly LinksRow[]): string {
  const head = [
    'MPI',
    'layout',
    'variant',
    'link ms',
    'one machine ms',
    'exposed ms',
    'bytes',
    'wire ms',
    'hidden',
    'losses',
  ]
  const cells = rows.map((row) => [
    row.library,
    row.layout,
    row.variant,
    fixed(row.linkMs, 0),
    fixed(row.computeMs, 0),
    fixed(row.exposedMs, 0),
    bytes(row.busiestBytes),
    fixed(row.wireMs, 0),
    percent(row.hidden, 0),
    row.sameLosses ? 'same bits' : 'differ',
  ])
  return tableText([head, ...cells], 'lllrrrrrrl')
}
