/** Blocks that all sections share: the table of contrasts, the forest plot, and the table of arms. */
import type { CapacityRule } from '../../model/routing/contract.ts'
import type { Block, Cell, IntervalFigure, Table } from '../../report/blocks.ts'
import { count, dash, fixed, listed, percent } from '../../text/numbers.ts'
import type { FinishedRun } from '../contract.ts'
import { mean, standardDeviation } from '../statistics.ts'
import type { Comparison } from './comparison.ts'
import { chance, digitsOfAll, estimateCell, ratioCell } from './numbers.ts'
import type { Runs } from './runs.ts'
import type { Word } from './sections/equal-cost.ts'

/** Blocks without those that have nothing to show. */
export const present = (blocks: readonly (Block | null)[]): Block[] => blocks.filter((block) => block !== null)

/** Lower case and dashes, for the names of figures. */
export const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '') || 'x'

/** Columns of words, numbers to the right. @param left how many columns from the left hold words */
export function table(
  caption: string,
  columns: readonly string[],
  rows: readonly (readonly Cell[])[],
  left = 1,
): Table | null {
  if (rows.length === 0) return null
  return {
    kind: 'table',
    caption,
    columns: columns.map((title, i) => ({ title, align: i < left ? 'left' : 'right' })),
    rows,
  }
}

/** Mean over the runs of an arm; null without runs. */
export function meanOf(runs: readonly FinishedRun[], value: (run: FinishedRun) => number): number | null {
  return mean(runs.map(value).filter(Number.isFinite))
}

export const flopsPerToken = (run: FinishedRun): number => run.trainFlops / run.tokens

/** Imbalance and drops of dense models are dashes: they route nothing. */
export const routed = (runs: readonly FinishedRun[]): readonly FinishedRun[] =>
  runs.filter((run) => run.config.model.moe !== null)

/** Of an arm that was timed alone on the machine. */
function stepTime(runs: Runs, arm: string): string {
  const timing = runs.timing(arm)
  return timing ? `${fixed(timing.stepMs, timing.stepMs < 10 ? 2 : 1)} ms` : dash
}

/** Sentences for the marks on arms and differences; nothing where there are none. */
export function footnotes(runs: Runs, arms: readonly string[], comparisons: readonly Comparison[] = []): string {
  const leaks = [...new Set(arms)].flatMap((arm) => {
    const nats = runs.leakOf(arm)
    return nats === null ? [] : [`${arm} ${fixed(nats, 3)}`]
  })
  return [
    ...(leaks.length > 0
      ? [` † sees later tokens, gains nats a token from them: ${listed(leaks)}; a causal model cannot.`]
      : []),
    ...(comparisons.some(({ turnsWithCapacity }) => turnsWithCapacity)
      ? [' ‡ The order of the two arms depends on the capacity of evaluation.']
      : []),
    ...(comparisons.some(({ turnsWithRate }) => turnsWithRate)
      ? [' § The order of the two arms depends on whether each has its best learning rate.']
      : []),
  ].join('')
}

const wordOf = (word: Word | null): Cell => {
  if (word === null) return dash
  return word === 'open' ? { text: 'open', tone: 'open' } : { text: word, tone: word === 'better' ? 'for' : 'against' }
}

function differenceCell({ estimate, outcome, turnsWithCapacity, turnsWithRate }: Comparison, digits: number): Cell {
  const cell = estimateCell(estimate, digits)
  if (typeof cell === 'string') return cell
  const tone = outcome === 'better' ? 'for' : outcome === 'worse' ? 'against' : 'open'
  return { ...cell, text: `${cell.text}${turnsWithCapacity ? ' ‡' : ''}${turnsWithRate ? ' §' : ''}`, tone }
}

/** A row a contrast. @param first explain the words, where a reader meets them for the first time */
export function contrastTable(runs: Runs, comparisons: readonly Comparison[], first: boolean): Table | null {
  const baselines = new Set(comparisons.map(({ baseline }) => baseline))
  const [only = ''] = baselines
  const several = baselines.size > 1
  const tuned = runs.results.tuning.length > 0
  const timed = comparisons.some(({ time }) => time !== null)
  const digits = digitsOfAll(comparisons.flatMap(({ estimate, otherRate }) => [estimate, otherRate]))
  const share = (arm: string, of: 'drop_rate' | 'unserved_rate') =>
    percent(meanOf(routed(runs.finished(arm)), (run) => runs.evaluationOf(run)[of]))
  const columns: readonly (readonly [title: string, cell: (comparison: Comparison) => Cell] | false)[] = [
    [
      'Arm',
      ({ arm, baseline }) =>
        several ? { text: runs.label(arm), note: `against ${runs.label(baseline)}` } : runs.label(arm),
    ],
    ['Difference', (comparison) => differenceCell(comparison, digits)],
    tuned && [
      runs.basis.rate === 'best' ? 'At common rate' : 'At best rate',
      ({ otherRate }) => estimateCell(otherRate, digits),
    ],
    ['p (Holm)', ({ adjusted }) => chance(adjusted)],
    ['FLOPs', ({ flops }) => ratioCell(flops, 2)],
    timed && ['Step time', ({ time }) => ratioCell(time, 2)],
    ['Per FLOP', ({ perFlop }) => wordOf(perFlop)],
    timed && ['Per second', ({ perSecond }) => wordOf(perSecond)],
    ['Dropped', ({ arm }) => ({ text: share(arm, 'drop_rate'), note: `${share(arm, 'unserved_rate')} unserved` })],
  ]
  const shown = columns.filter((column) => column !== false)
  const words = first
    ? ` Difference: held-out loss of the arm minus that of its baseline, by seed, with its 95 % interval; negative is better. p (Holm): the chance of such a difference if there were none, raised for the number of contrasts of the section. FLOPs${timed ? ' and step time' : ''}: arm over baseline. Per FLOP${timed ? ', per second' : ''}: which has the lower loss at equal training FLOPs${timed ? ' or time' : ''}; open: the interval holds zero. Dropped: share of assignments that found no room at an expert when held-out text was evaluated; unserved: share of tokens that no expert computed.`
    : ''
  return table(
    `${several ? 'Contrasts' : `Arms against ${runs.label(only)}`}, nats a token.${words}${footnotes(
      runs,
      comparisons.flatMap(({ arm, baseline }) => [arm, baseline]),
      comparisons,
    )}`,
    shown.map(([title]) => title),
    comparisons.map((comparison) => shown.map(([, cell]) => cell(comparison))),
  )
}

/** Every arm of the study: a row each, for those who look for one. */
export function armTable(runs: Runs, arms: readonly string[]): Table | null {
  const under = (arm: string, capacity: CapacityRule) =>
    fixed(
      meanOf(runs.finished(arm), (run) => run.heldOut.capacities[capacity].loss),
      3,
    )
  return table(
    `All arms. Held-out loss in nats a token with the standard deviation over seeds; then the same text at the capacity of training, at that of evaluation, and without one. Dropped and unserved: at the first of these losses. c_v: standard deviation of the experts' loads over their mean, last quarter of training (0: even).${footnotes(runs, arms)}`,
    [
      'Arm',
      'Seeds',
      'Loss',
      'Bits a byte',
      'Train',
      'Eval',
      'None',
      'Dropped',
      'Unserved',
      'c_v',
      'FLOPs a token',
      'Step',
    ],
    arms.flatMap((arm): Cell[][] => {
      const finished = runs.finished(arm)
      if (finished.length === 0) return []
      const sparse = routed(finished)
      const share = (of: 'drop_rate' | 'unserved_rate') => percent(meanOf(sparse, (run) => runs.evaluationOf(run)[of]))
      const bits = meanOf(finished, (run) => runs.evaluationOf(run).bits_per_byte)
      const cv = meanOf(sparse, (run) => run.routing.loadCv)
      return [
        [
          runs.label(arm),
          String(finished.length),
          lossCell(runs, finished),
          fixed(bits, 3),
          under(arm, 'train'),
          under(arm, 'eval'),
          under(arm, 'none'),
          share('drop_rate'),
          share('unserved_rate'),
          fixed(cv, 2),
          count(meanOf(finished, flopsPerToken)),
          stepTime(runs, arm),
        ],
      ]
    }),
  )
}

function lossCell(runs: Runs, finished: readonly FinishedRun[]): Cell {
  const losses = finished.map((run) => runs.lossOf(run))
  const sd = standardDeviation(losses)
  const text = fixed(mean(losses), 3)
  return sd === null ? text : { text, note: `± ${fixed(sd, sd < 0.001 ? 4 : 3)}` }
}

/** A row a comparison; one pair is drawn as a dot without width. */
export function forest(runs: Runs, id: string, comparisons: readonly Comparison[]): IntervalFigure | null {
  const several = new Set(comparisons.map(({ baseline }) => baseline)).size > 1
  const rows = comparisons.flatMap(({ arm, baseline, estimate, differences }) =>
    estimate === null
      ? []
      : [
          {
            label: several ? `${runs.label(arm)} against ${runs.label(baseline)}` : runs.label(arm),
            mean: estimate.mean,
            low: estimate.interval?.[0] ?? estimate.mean,
            high: estimate.interval?.[1] ?? estimate.mean,
            values: differences,
          },
        ],
  )
  if (rows.length === 0) return null
  const colours = rows.length > 1 ? " Colour: the interval is clear of zero, before Holm's correction." : ''
  const against = several ? 'its baseline' : (comparisons[0]?.baseline ?? 'its baseline')
  return {
    kind: 'figure',
    id: slug(`${id}-forest`),
    caption: `Held-out loss of each arm minus that of ${against}, by seed: mean, 95 % interval and single seeds.${colours}`,
    form: 'intervals',
    x: { label: `loss minus ${several ? "the baseline's" : `that of ${against}`}, nats a token`, scale: 'linear' },
    zero: 0,
    sides: ['better', 'worse'],
    rows,
  }
}
