/** Blocks shared by all sections: the table of contrasts, the forest plot, and the table of arms. */
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { dash, fixed, joinWords, listed, percent, plural } from '../../../core/text/numbers.ts'
import type { Block, Cell, IntervalFigure, Table } from '../../report/blocks.ts'
import { MIN_GROUPS } from '../bootstrap.ts'
import type { FinishedRun } from '../contract.ts'
import { decisivenessOf } from '../results/decisiveness.ts'
import { mean, standardDeviation } from '../statistics.ts'
import type { BetweenTexts } from './between-texts.ts'
import type { Comparison } from './comparison.ts'
import { anytimeNote, digitsOfColumn, estimateCell, formatRange, pCell, ratioCell } from './numbers.ts'
import { type Outcome, signOf } from './outcome.ts'
import type { Runs } from './runs.ts'
import type { CostVerdict } from './sections/equal-cost.ts'

/** Fewest points of a figure. One or two are read faster in the table that has them anyway, and show no shape. */
export const MIN_POINTS = 3

/** Drops the blocks that have nothing to show. */
export const shownBlocks = (blocks: readonly (Block | null)[]): Block[] => blocks.filter((block) => block !== null)

/** The text in lower case with dashes, for names of figures. */
export const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '') || 'x'

/**
 * A table; null without rows.
 * @param id Distinguishes the table from the others of its section, in the names of files.
 * @param left Left-aligned columns, the first n or by index; the others hold numbers.
 */
export function table(
  id: string,
  caption: string,
  columns: readonly string[],
  rows: readonly (readonly Cell[])[],
  left: number | readonly number[] = 1,
): Table | null {
  if (rows.length === 0) return null
  return {
    kind: 'table',
    id,
    caption,
    columns: columns.map((title, i) => {
      const isLeft = typeof left === 'number' ? i < left : left.includes(i)
      return { title, align: isLeft ? 'left' : 'right' }
    }),
    rows,
  }
}

/** Mean over the runs of an arm; null without runs. */
export function meanOver(runs: readonly FinishedRun[], value: (run: FinishedRun) => number): number | null {
  return mean(runs.map(value).filter(Number.isFinite))
}

export const flopsPerToken = (run: FinishedRun): number => run.trainFlops / run.tokens

/** Runs with experts: a dense model routes nothing, so its imbalance and drops are dashes. */
export const routed = (runs: readonly FinishedRun[]): readonly FinishedRun[] =>
  runs.filter((run) => run.config.model.moe !== null)

/** Means over the runs of an arm, layer by layer, such as `0.42 0.61`; a dash if they are unknown. */
function byLayer(runs: Runs, arm: string, of: 'gate' | 'entropyShare'): Cell {
  const layers = runs.finished(arm).map(decisivenessOf)
  const values = (layers[0] ?? []).map((_, i) => mean(layers.flatMap((own) => own[i]?.[of] ?? [])))
  const text = listed(values)
  return text === dash ? dash : { text, exact: { values } }
}

function stepTime(runs: Runs, arm: string): string {
  const timing = runs.timing(arm)
  return timing ? `${fixed(timing.stepMs, timing.stepMs < 10 ? 2 : 1)} ms` : dash
}

/** Explains the marks that arms and differences have; empty without marks. */
export function footnotes(runs: Runs, arms: readonly string[], comparisons: readonly Comparison[] = []): string {
  const leaks = [...new Set(arms)].flatMap((arm) => {
    const nats = runs.leakOf(arm)
    return nats === null ? [] : [`${arm} ${fixed(nats, 3)}`]
  })
  return [
    ...(leaks.length > 0
      ? [
          ` † sees later tokens, which a causal model cannot, and so gains at least, in nats a token: ${joinWords(leaks)}.`,
        ]
      : []),
    ...(arms.some((arm) => runs.isUnlimited(arm))
      ? [
          ' ¶ balances loads in training only, so a capacity would drop more of its choices in evaluation than in training: where it is compared, both arms are evaluated without a capacity limit.',
        ]
      : []),
    ...(comparisons.some(({ outcome }) => isUncorrected(outcome))
      ? [" ° The interval excludes zero, but the difference does not survive Holm's correction."]
      : []),
    ...(comparisons.some(({ dependsOnCapacity }) => dependsOnCapacity)
      ? [' ‡ Which of the two is better depends on the evaluation capacity.']
      : []),
    ...(comparisons.some(({ dependsOnRate }) => dependsOnRate)
      ? [' § Which of the two is better depends on whether each has its best learning rate.']
      : []),
    ...(comparisons.some(({ dependsOnText }) => dependsOnText)
      ? [' ‖ The interval between texts contains zero: on other documents the difference may be none, or the opposite.']
      : []),
  ].join('')
}

const verdictCell = (word: CostVerdict | null): Cell => {
  if (word === null) return dash
  return word === 'open' ? { text: 'open', tone: 'open' } : { text: word, tone: word }
}

/** Whether a difference does not survive Holm's correction. */
const isUncorrected = (outcome: Outcome): boolean => outcome === 'maybe-better' || outcome === 'maybe-worse'

function differenceCell(comparison: Comparison, digits: number): Cell {
  const { estimate, outcome, dependsOnCapacity, dependsOnRate, dependsOnText } = comparison
  const sign = signOf(estimate)
  const cell = estimateCell(estimate, digits)
  if (typeof cell === 'string') return cell
  const tone = sign === 0 ? 'open' : sign < 0 ? 'better' : 'worse'
  const marks = `${isUncorrected(outcome) ? ' °' : ''}${dependsOnCapacity ? ' ‡' : ''}${dependsOnRate ? ' §' : ''}${dependsOnText ? ' ‖' : ''}`
  return { ...cell, text: `${cell.text}${marks}`, tone }
}

/** The interval over documents, with the interval over both seeds and documents below. */
function textsCell(texts: BetweenTexts | null, digits: number): Cell {
  if (texts === null) return dash
  const { documents, interval, both } = texts
  if (interval === null) return { text: 'too few', note: plural(documents, 'document') }
  const note = both ? { note: `with seeds ${formatRange(both, digits)}` } : {}
  return { text: formatRange(interval, digits), ...note, exact: { values: [], interval } }
}

/**
 * The table of contrasts, one row each.
 * @param first Whether its columns are explained, because a reader meets them here first.
 */
export function contrastTable(runs: Runs, comparisons: readonly Comparison[], first: boolean): Table | null {
  const baselines = new Set(comparisons.map(({ baseline }) => baseline))
  const [only = ''] = baselines
  const several = baselines.size > 1
  const tuned = runs.results.tuning.length > 0
  const timed = comparisons.some(({ time }) => time !== null)
  const byText = comparisons.some(({ texts }) => texts !== null)
  const finished = comparisons.flatMap(({ arm }) => runs.finished(arm))
  const sparse = finished.length === 0 || routed(finished).length > 0
  const digits = digitsOfColumn(comparisons.flatMap(({ estimate, otherRate }) => [estimate, otherRate]))
  const share = ({ arm, baseline }: Comparison, of: 'drop_rate' | 'unserved_rate') =>
    percent(meanOver(routed(runs.comparing([arm, baseline]).finished(arm)), (run) => runs.evaluationOf(run)[of]))
  const columns: readonly (readonly [title: string, cell: (comparison: Comparison) => Cell] | false)[] = [
    [
      'Arm',
      ({ arm, baseline }) =>
        several ? { text: runs.label(arm), note: `against ${runs.label(baseline)}` } : runs.label(arm),
    ],
    ['Difference', (comparison) => differenceCell(comparison, digits)],
    byText && ['Between texts', ({ texts }) => textsCell(texts, digits)],
    tuned && [
      runs.basis.rate === 'best' ? 'At common rate' : 'At best rate',
      ({ otherRate }) => estimateCell(otherRate, digits),
    ],
    ['p (Holm)', ({ pAdjusted }) => pCell(pAdjusted)],
    ['FLOPs', ({ flops }) => ratioCell(flops, 2)],
    timed && ['Step time', ({ time }) => ratioCell(time, 2)],
    ['Per FLOP', ({ perFlop }) => verdictCell(perFlop)],
    timed && ['Per second', ({ perSecond }) => verdictCell(perSecond)],
    sparse && [
      'Dropped',
      (one) => ({ text: share(one, 'drop_rate'), note: `${share(one, 'unserved_rate')} unserved` }),
    ],
  ]
  const shown = columns.filter((column) => column !== false)
  const words = first
    ? ` Difference: held-out loss of the arm minus that of its baseline, by seed, with its 95 % interval; negative is better.${byText ? ` Between texts: the 95 % interval of the same difference over the held-out documents instead of seeds, and below it over both; too few: fewer than ${MIN_GROUPS} documents, which give no interval.` : ''} p (Holm): the probability of so large a difference if there were none, corrected for the number of contrasts in the section. FLOPs${timed ? ' and step time' : ''}: arm over baseline. Per FLOP${timed ? ', per second' : ''}: whether the arm is better or worse at equal training FLOPs${timed ? ' or time' : ''} and after whole trainings too; open: not decided after the correction, or not the same.${sparse ? ' Dropped: share of assignments beyond the capacity of their expert, when held-out text was evaluated; unserved: share of tokens that no expert computed.' : ''}`
    : ''
  return table(
    'contrasts',
    `${several ? 'Contrasts' : `Arms against ${runs.label(only)}`}, nats a token.${words}${anytimeNote(comparisons)}${footnotes(
      runs,
      comparisons.flatMap(({ arm, baseline }) => [arm, baseline]),
      comparisons,
    )}`,
    shown.map(([title]) => title),
    comparisons.map((comparison) => shown.map(([, cell]) => cell(comparison))),
  )
}

/** Columns of {@link byLayer}, and their explanation. The columns are left-aligned: many layers need several lines. */
const layerColumns = ['Gate', 'Entropy share']
const layerWords =
  "Gate: mean over tokens of the sum of the gates of a token's kept choices, by which the output of its experts is scaled, layer by layer. Entropy share: entropy of the router's distribution over the largest possible, layer by layer; near 1 the router hardly prefers any expert. Both are means over the last quarter of training."

/**
 * A table of how decided the routers of arms are, one row per arm; null if all arms are dense. It is below the table of
 * contrasts, which has no room for its columns.
 */
export function routerTable(runs: Runs, arms: readonly string[], first: boolean): Table | null {
  const known = [...new Set(arms)].filter((arm) => runs.finished(arm).length > 0)
  if (known.every((arm) => routed(runs.finished(arm)).length === 0)) return null
  return table(
    'routers',
    `Gates and entropies of routers, layer by layer.${first ? ` ${layerWords}` : ''}`,
    ['Arm', ...layerColumns],
    known.map((arm) => [runs.label(arm), byLayer(runs, arm, 'gate'), byLayer(runs, arm, 'entropyShare')]),
    3,
  )
}

/** The losses of all arms, one row each. {@link armRouting} has their routing: one table would not fit a page. */
export function armTable(runs: Runs, arms: readonly string[]): Table | null {
  const under = (arm: string, capacity: CapacityRule) =>
    fixed(
      meanOver(runs.finished(arm), (run) => run.heldOut.capacities[capacity].loss),
      3,
    )
  return table(
    'losses',
    `Losses of all arms. Loss: held-out loss in nats a token with its standard deviation over seeds, at the capacity that answers use. Train, eval, none: the loss of the same text at the capacity of training, at that of evaluation, and without a limit.${footnotes(runs, arms)}`,
    ['Arm', 'Seeds', 'Loss', 'Bits per byte', 'Train', 'Eval', 'None'],
    arms.flatMap((arm): Cell[][] => {
      const finished = runs.finished(arm)
      if (finished.length === 0) return []
      const bits = meanOver(finished, (run) => runs.evaluationOf(run).bits_per_byte)
      return [
        [
          runs.label(arm),
          String(finished.length),
          lossCell(runs, finished),
          fixed(bits, 3),
          under(arm, 'train'),
          under(arm, 'eval'),
          under(arm, 'none'),
        ],
      ]
    }),
  )
}

/**
 * Routing of every arm, and its step time if steps were timed; `sections/set-up.ts` has parameters and FLOPs. Null if all
 * arms are dense and none was timed.
 */
export function armRouting(runs: Runs, arms: readonly string[]): Table | null {
  const timed = arms.some((arm) => runs.timing(arm) !== null)
  const known = arms.filter((arm) => runs.finished(arm).length > 0)
  if (known.every((arm) => routed(runs.finished(arm)).length === 0))
    return timed
      ? table(
          'routing',
          'Step: time of a training step, measured alone.',
          ['Arm', 'Step'],
          known.map((arm) => [runs.label(arm), stepTime(runs, arm)]),
        )
      : null
  return table(
    'routing',
    `Routing${timed ? ' and step times' : ''} of all arms. Dropped, unserved: shares of assignments and of tokens when held-out text was evaluated, at the capacity that answers use. c_v: standard deviation of the experts' loads over their mean, last quarter of training (0: even). ${layerWords}${timed ? ' Step: time of a training step, measured alone.' : ''}`,
    ['Arm', 'Dropped', 'Unserved', 'c_v', ...layerColumns, ...(timed ? ['Step'] : [])],
    arms.flatMap((arm): Cell[][] => {
      const finished = runs.finished(arm)
      if (finished.length === 0) return []
      const sparse = routed(finished)
      const share = (of: 'drop_rate' | 'unserved_rate') =>
        percent(meanOver(sparse, (run) => runs.evaluationOf(run)[of]))
      const cv = meanOver(sparse, (run) => run.routing.loadCv)
      return [
        [
          runs.label(arm),
          share('drop_rate'),
          share('unserved_rate'),
          fixed(cv, 2),
          byLayer(runs, arm, 'gate'),
          byLayer(runs, arm, 'entropyShare'),
          ...(timed ? [stepTime(runs, arm)] : []),
        ],
      ]
    }),
    [0, 4, 5],
  )
}

function lossCell(runs: Runs, finished: readonly FinishedRun[]): Cell {
  const losses = finished.map((run) => runs.lossOf(run))
  const sd = standardDeviation(losses)
  const loss = mean(losses)
  const note = sd === null ? {} : { note: `± ${fixed(sd, sd < 0.001 ? 4 : 3)}` }
  return { text: fixed(loss, 3), ...note, exact: { values: [loss] } }
}

/** The forest plot: one row per comparison, where a single pair is a dot without an interval. */
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
  const colours =
    rows.length > 1
      ? " Coloured: the interval excludes zero, before Holm's correction; blue: the arm is better, orange: it is worse."
      : ''
  const against = several ? 'its baseline' : (comparisons[0]?.baseline ?? 'its baseline')
  return {
    kind: 'figure',
    id: slug(`${id}-forest`),
    caption: `Held-out loss of each arm minus that of ${against}, by seed: mean, 95 % interval and individual seeds.${colours}${anytimeNote(comparisons)}`,
    form: 'intervals',
    x: { label: `loss minus ${several ? "the baseline's" : `that of ${against}`}, nats a token`, scale: 'linear' },
    zero: 0,
    sides: ['better', 'worse'],
    rows,
  }
}
