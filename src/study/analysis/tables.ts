/** Blocks that many sections share: the table of arms and the forest plot of their differences. */
import type { Block, IntervalFigure, Table } from '../../report/index.ts'
import type { FinishedRun } from '../contract.ts'
import { mean, standardDeviation } from '../statistics.ts'
import type { Comparison } from './comparison.ts'
import { chance, count, dash, fixed, percent, ratioText, signedPercent, time, withInterval } from './numbers.ts'
import { armsOf, type Runs } from './runs.ts'

/** Blocks without those that have nothing to show. */
export const present = (blocks: readonly (Block | null)[]): Block[] => blocks.filter((block) => block !== null)

/** Lower case and dashes, for the names of figures. */
export const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '') || 'x'

export function table(caption: string, columns: readonly string[], rows: readonly (readonly string[])[]): Table | null {
  if (rows.length === 0) return null
  return {
    kind: 'table',
    caption,
    columns: columns.map((title, i) => ({ title, align: i === 0 ? 'left' : 'right' })),
    rows,
  }
}

/** Mean over the runs of an arm; null without runs. */
export function meanOf(runs: readonly FinishedRun[], value: (run: FinishedRun) => number): number | null {
  return mean(runs.map(value).filter(Number.isFinite))
}

/** 3.412 ± 0.008, the standard deviation over seeds. */
export function lossText(runs: readonly FinishedRun[]): string {
  const losses = runs.map((run) => run.heldOut.loss)
  const sd = standardDeviation(losses)
  return `${fixed(mean(losses), 3)}${sd === null ? '' : ` ± ${fixed(sd, 3)}`}`
}

export const flopsPerToken = (run: FinishedRun): number => run.trainFlops / run.tokens

/** Imbalance and drops of dense models are dashes: they route nothing. */
export const routed = (runs: readonly FinishedRun[]): readonly FinishedRun[] =>
  runs.filter((run) => run.config.model.moe !== null)

/** Of an arm that was timed alone on the machine. */
export function stepTime(runs: Runs, arm: string): string {
  const timing = runs.timing(arm)
  return timing ? `${fixed(timing.stepMs, timing.stepMs < 10 ? 2 : 1)} ms` : dash
}

export function armTable(runs: Runs, comparisons: readonly Comparison[]): Table | null {
  const rows = armsOf(comparisons).flatMap((arm) => {
    const own = comparisons.filter((comparison) => comparison.arm === arm)
    const cells = (comparison: Comparison | null) => rowOf(runs, arm, comparison)
    return own.length === 0 ? [cells(null)] : own.map(cells)
  })
  const several = new Set(comparisons.map(({ baseline }) => baseline)).size > 1
  return table(
    `Held-out loss in nats a token, mean ± standard deviation over seeds. Difference: arm minus ${several ? 'its baseline' : 'baseline'} by seed, with its 95 % interval; negative is better. p is adjusted by Holm for the section. Drops and c_v are means over the last quarter of training. Step: median of a training step, alone on the machine; Training: wall time of all steps, when other runs may have run beside.`,
    [
      'Arm',
      'Seeds',
      'Held-out loss',
      'Bits a byte',
      ...(several ? ['Against'] : []),
      'Difference',
      'In %',
      'p (Holm)',
      'Dropped',
      'c_v',
      'c_v after drops',
      'FLOPs a token',
      'FLOPs ratio',
      'Step',
      'Training',
    ],
    rows.map((row) => (several ? row : row.filter((_, i) => i !== 4))),
  )
}

function rowOf(runs: Runs, arm: string, comparison: Comparison | null): string[] {
  const finished = runs.finished(arm)
  const sparse = routed(finished)
  return [
    arm,
    String(finished.length),
    lossText(finished),
    fixed(
      meanOf(finished, (run) => run.heldOut.bits_per_byte),
      3,
    ),
    comparison?.baseline ?? dash,
    withInterval(comparison?.estimate ?? null),
    signedPercent(comparison?.share, 2),
    chance(comparison?.adjusted),
    percent(meanOf(sparse, (run) => run.routing.dropRate)),
    fixed(
      meanOf(sparse, (run) => run.routing.loadCv),
      2,
    ),
    fixed(
      meanOf(sparse, (run) => run.routing.loadCvKept),
      2,
    ),
    count(meanOf(finished, flopsPerToken)),
    ratioText(comparison?.flops ?? null),
    stepTime(runs, arm),
    time(meanOf(finished, (run) => run.seconds)),
  ]
}

/** A row a comparison; one pair is drawn as a dot without width. */
export function forest(id: string, comparisons: readonly Comparison[]): IntervalFigure | null {
  const several = new Set(comparisons.map(({ baseline }) => baseline)).size > 1
  const rows = comparisons.flatMap(({ arm, baseline, estimate, differences }) =>
    estimate === null
      ? []
      : [
          {
            label: several ? `${arm} against ${baseline}` : arm,
            mean: estimate.mean,
            low: estimate.interval?.[0] ?? estimate.mean,
            high: estimate.interval?.[1] ?? estimate.mean,
            values: differences,
          },
        ],
  )
  if (rows.length === 0) return null
  const colours = rows.length > 1 ? " Colour: the interval is clear of nought, before Holm's correction." : ''
  const against = several ? 'its baseline' : (comparisons[0]?.baseline ?? 'its baseline')
  return {
    kind: 'figure',
    id: slug(`${id}-forest`),
    caption: `Held-out loss of each arm minus ${against}, by seed: mean, 95 % interval (Student's t over seeds) and single seeds.${colours}`,
    form: 'intervals',
    x: { label: `loss minus ${several ? "the baseline's" : `that of ${against}`}, nats a token`, scale: 'linear' },
    zero: 0,
    sides: ['better', 'worse'],
    rows,
  }
}
