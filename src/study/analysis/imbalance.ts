/**
 * Does load imbalance matter for quality? Two kinds of evidence, kept apart: over arms, whether more
 * uneven loads (c_v) go with worse losses; and for the most uneven arm, how much worse it can be at most.
 * The points of the correlation are arms, not runs: seeds of an arm are one point, and few arms make a
 * wide interval, which is printed. A correlation does not say what causes what.
 *
 * Expert choice is no evidence of either kind: its loads are even by construction, and its experts see
 * later tokens, which helps the loss. Such arms are drawn, apart from the others.
 */
import type { ScatterFigure } from '../../report/index.ts'
import type { FinishedRun, Question } from '../contract.ts'
import { type Correlation, mean, pearson, regression, spearman } from '../statistics.ts'
import { type Comparison, compareAll } from './comparison.ts'
import { aligned, armLines, type Track } from './curves.ts'
import { loadAtEnd, loadOverTime } from './load.ts'
import { digitsOf, fixed, listed, plural, range } from './numbers.ts'
import { details, type Findings } from './plain.ts'
import { routingOf } from './routing.ts'
import { armsOf, mainBaseline, type Runs } from './runs.ts'
import { armTable, forest, meanOf, present, routed, slug } from './tables.ts'
import { headline } from './words.ts'

type Measure = 'loadCv' | 'loadCvKept'
const measures: readonly (readonly [Measure, string])[] = [
  ['loadCv', 'before drops'],
  ['loadCvKept', 'after drops'],
]

export function imbalance(runs: Runs, { id, contrasts }: Question): Findings {
  const comparisons = compareAll(runs, contrasts)
  const baseline = mainBaseline(contrasts)
  const most = mostUnbalanced(runs, comparisons)
  const shown = [...new Set([baseline, most?.arm ?? null])].filter((arm) => arm !== null)
  return {
    verdicts: [
      answer(runs, comparisons),
      ...measures.flatMap(([measure, when]) => relationOf(runs, comparisons, measure, when)),
      ...leftOut(runs, comparisons),
      ...extreme(runs, comparisons),
      headline(runs, comparisons),
      ...details(runs, comparisons),
    ],
    blocks: present([
      forest(id, comparisons),
      armTable(runs, comparisons),
      ...measures.map(([measure, when]) => scatter(runs, id, comparisons, measure, when)),
      armLines(
        runs,
        armsOf(contrasts),
        {
          id: `${id}-imbalance`,
          caption:
            'Load imbalance over training: c_v of the tokens that experts are given, before drops, mean over layers.',
          y: 'c_v before drops',
        },
        imbalanceTrack,
      ),
      loadAtEnd(runs, id, shown),
      loadOverTime(runs, id, shown),
    ]),
  }
}

/** Whether the loads of an arm's experts follow from its routing, and not from the text. */
const expertsChoose = (runs: Runs, arm: string): boolean => routingOf(runs, arm)?.router === 'expert-choice'

/** Points of the relation: arms with a c_v and a difference, and the baseline at nought. */
function pointsOf(runs: Runs, comparisons: readonly Comparison[], measure: Measure) {
  const baseline = mainBaseline(comparisons)
  const own = comparisons.filter((comparison) => comparison.baseline === baseline)
  const points = own.flatMap(({ arm, estimate }) => {
    const x = imbalanceOf(runs, arm, measure)
    return x === null || estimate === null ? [] : [{ arm, x, y: estimate.mean, interval: estimate.interval }]
  })
  const origin = baseline === null || points.length === 0 ? null : imbalanceOf(runs, baseline, measure)
  return baseline === null || origin === null ? points : [{ arm: baseline, x: origin, y: 0, interval: null }, ...points]
}

/** Those of them that are evidence. */
const evidence = (runs: Runs, comparisons: readonly Comparison[], measure: Measure) =>
  pointsOf(runs, comparisons, measure).filter(({ arm }) => !expertsChoose(runs, arm))

function leftOut(runs: Runs, comparisons: readonly Comparison[]): string[] {
  const arms = pointsOf(runs, comparisons, 'loadCv').flatMap(({ arm }) => (expertsChoose(runs, arm) ? [arm] : []))
  return arms.length === 0
    ? []
    : [
        `Drawn but left out of correlations and trends: ${listed(arms)}. Where experts choose their tokens, loads are even by construction and later tokens help the loss.`,
      ]
}

const imbalanceOf = (runs: Runs, arm: string, measure: Measure): number | null =>
  meanOf(routed(runs.finished(arm)), (run) => run.routing[measure])

function mostUnbalanced(runs: Runs, comparisons: readonly Comparison[]): Comparison | null {
  const known = comparisons.flatMap((comparison) => {
    const cv = comparison.estimate === null ? null : imbalanceOf(runs, comparison.arm, 'loadCv')
    return cv === null ? [] : [{ comparison, cv }]
  })
  return known.toSorted((a, b) => b.cv - a.cv)[0]?.comparison ?? null
}

function correlate(runs: Runs, comparisons: readonly Comparison[], measure: Measure): Correlation | null {
  const points = evidence(runs, comparisons, measure)
  return pearson(
    points.map(({ x }) => x),
    points.map(({ y }) => y),
  )
}

/** Does it matter here? Only as far as the interval of the correlation goes. */
function answer(runs: Runs, comparisons: readonly Comparison[]): string {
  const points = evidence(runs, comparisons, 'loadCv')
  if (points.length === 0) return 'Not enough runs yet to see whether load imbalance matters for quality.'
  const correlation = correlate(runs, comparisons, 'loadCv')
  if (correlation?.interval === null || correlation === null)
    return `Whether load imbalance matters for quality cannot be told from ${plural(points.length, 'arm')}: a correlation with an interval takes at least four that differ.`
  const [low, high] = correlation.interval
  const over = `over ${correlation.n} arms (r = ${fixed(correlation.r, 2)}, 95 % interval ${range(correlation.interval, 2)})`
  if (low > 0)
    return `Load imbalance goes with worse quality here: arms with a higher c_v have a higher loss, ${over}. What else sets those arms apart may be the cause.`
  if (high < 0)
    return `Load imbalance does not go with worse quality here: arms with a higher c_v have a lower loss, ${over}. What else sets those arms apart may be the cause.`
  return `No relation between load imbalance and quality was found here ${over}; the interval is what remains possible.`
}

function relationOf(runs: Runs, comparisons: readonly Comparison[], measure: Measure, when: string): string[] {
  const points = evidence(runs, comparisons, measure)
  const correlation = correlate(runs, comparisons, measure)
  if (correlation === null || correlation.n < 3) return []
  const ranks = spearman(
    points.map(({ x }) => x),
    points.map(({ y }) => y),
  )
  const interval = correlation.interval ? `, 95 % interval ${range(correlation.interval, 2)}` : ''
  return [
    `Correlation of c_v ${when} with the loss over ${correlation.n} arms, the baseline among them: ${fixed(correlation.r, 2)}${interval}; of ranks: ${fixed(ranks, 2)}.`,
  ]
}

/**
 * What the arm whose balance is furthest from the baseline's rules out. The end of its interval is the
 * harm of imbalance (or, for an arm that is more even than the baseline, the gain of balance) that is
 * still possible.
 */
function extreme(runs: Runs, comparisons: readonly Comparison[]): string[] {
  const known = comparisons.flatMap(({ arm, baseline, estimate }) => {
    const [cv, base] = [imbalanceOf(runs, arm, 'loadCv'), imbalanceOf(runs, baseline, 'loadCv')]
    return cv === null ||
      base === null ||
      !estimate?.interval ||
      expertsChoose(runs, arm) ||
      expertsChoose(runs, baseline)
      ? []
      : [{ arm, baseline, cv, base, interval: estimate.interval, digits: digitsOf(estimate) }]
  })
  const [far] = known.toSorted((a, b) => Math.abs(b.cv - b.base) - Math.abs(a.cv - a.base))
  if (far === undefined || far.cv === far.base) return []
  const { arm, baseline, cv, base, interval, digits } = far
  const [low, high] = interval
  const uneven = cv > base
  // The side on which imbalance does harm is above for an uneven arm, below for an even one.
  const harm = uneven ? high : -low
  const [within, beyond] = uneven ? ['above', 'below'] : ['below', 'above']
  const bound =
    harm > 0
      ? `at most ${fixed(harm, digits)} nats a token ${within}`
      : `at least ${fixed(-harm, digits)} nats a token ${beyond}`
  return [
    `Furthest in balance from ${baseline} (c_v ${fixed(base, 2)}) is ${arm}, the more ${uneven ? 'uneven' : 'even'} (c_v ${fixed(cv, 2)}): its loss is ${bound} that of ${baseline}, by the ${uneven ? 'upper' : 'lower'} end of the 95 % interval.`,
  ]
}

function scatter(
  runs: Runs,
  id: string,
  comparisons: readonly Comparison[],
  measure: Measure,
  when: string,
): ScatterFigure | null {
  const points = pointsOf(runs, comparisons, measure)
  if (points.length < 2) return null
  const baseline = mainBaseline(comparisons)
  const fitted = evidence(runs, comparisons, measure)
  const apart = fitted.length < points.length ? ', those with expert choice left out' : ''
  const xs = fitted.map(({ x }) => x)
  const line =
    fitted.length < 3
      ? null
      : regression(
          xs,
          fitted.map(({ y }) => y),
        )
  const ends = [Math.min(...xs), Math.max(...xs)] as const
  return {
    kind: 'figure',
    id: slug(`${id}-${measure === 'loadCv' ? 'imbalance-loss' : 'imbalance-kept-loss'}`),
    caption: `Load imbalance ${when} (c_v, mean over the last quarter of training) and held-out loss minus that of ${baseline ?? 'the baseline'}: a point an arm, with the 95 % interval over seeds; the line is least squares over the arms${apart}.`,
    form: 'scatter',
    x: { label: `c_v ${when}`, scale: 'linear' },
    y: { label: 'loss minus the baseline, nats a token', scale: 'linear' },
    points: points.map(({ arm, x, y, interval }) => ({
      label: arm,
      group: expertsChoose(runs, arm) ? 'expert choice' : arm === baseline ? 'baseline' : 'arms',
      x,
      y,
      ...(interval ? { low: interval[0], high: interval[1] } : {}),
    })),
    ...(line ? { trend: ends.map((x) => [x, line.intercept + line.slope * x] as const) } : {}),
  }
}

/** c_v of a run over time, mean over its routed layers. */
function imbalanceTrack(run: FinishedRun): Track | null {
  const rows = aligned(run.layers.map(({ step, loadCv }) => ({ step, value: loadCv })))
  if (rows.length === 0) return null
  return { step: rows.map(({ step }) => step), value: rows.map(({ values }) => values && mean(values)) }
}
