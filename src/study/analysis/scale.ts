/**
 * Does the gain grow with model size? A gain is baseline minus arm, so more is better. Every contrast is
 * one size; a family is the same kind of arm (2 top-1, say) at several sizes. The trend is a slope over
 * the logarithm of parameters, one a seed, since the runs of a seed share their text and order.
 */
import type { Question } from '../contract.ts'
import type { ScatterFigure, Table } from '../report/blocks.ts'
import { regressionWithin } from '../statistics.ts'
import { type Comparison, compareAll } from './comparison.ts'
import { count, digitsOf, fixed, plural, range, ratioText, signed, withInterval } from './numbers.ts'
import { details, type Findings } from './plain.ts'
import { familyOf, routingOf } from './routing.ts'
import type { Runs } from './runs.ts'
import { armTable, forest, meanOf, present, slug, table } from './tables.ts'

interface Size {
  readonly comparison: Comparison
  readonly parameters: number
}

interface Family {
  readonly name: string
  /** From the smallest model to the largest; those with pairs only. */
  readonly sizes: readonly Size[]
}

export function scale(runs: Runs, { id, contrasts }: Question): Findings {
  const comparisons = compareAll(runs, contrasts)
  const families = familiesOf(runs, comparisons)
  return {
    verdicts: [
      families.length === 0
        ? 'Not enough runs yet to see how the gain goes with model size.'
        : families.map(growth).join(' '),
      ...details(runs, comparisons),
    ],
    blocks: present([
      ...families.map((family) => figure(id, family, families.length)),
      trends(families),
      sizeTable(families),
      forest(id, comparisons),
      armTable(runs, comparisons),
    ]),
  }
}

function familiesOf(runs: Runs, comparisons: readonly Comparison[]): Family[] {
  const found = new Map<string, Size[]>()
  for (const comparison of comparisons) {
    const parameters = meanOf(
      comparison.pairs.map(({ arm }) => arm),
      (run) => run.parameters,
    )
    if (parameters === null || parameters <= 0) continue
    const name = `${familyOf(routingOf(runs, comparison.arm))} against ${familyOf(routingOf(runs, comparison.baseline))}`
    found.set(name, [...(found.get(name) ?? []), { comparison, parameters }])
  }
  return [...found].map(([name, sizes]) => ({ name, sizes: sizes.toSorted((a, b) => a.parameters - b.parameters) }))
}

/** Gain over log₁₀ of parameters: one line a seed, the slope being nats for tenfold parameters. */
function trendOf({ sizes }: Family) {
  const seeds = new Map<number, { x: number[]; y: number[] }>()
  for (const { comparison, parameters } of sizes)
    comparison.pairs.forEach(({ seed }, i) => {
      const points = seeds.get(seed) ?? { x: [], y: [] }
      points.x.push(Math.log10(parameters))
      points.y.push(-(comparison.differences[i] ?? 0))
      seeds.set(seed, points)
    })
  return regressionWithin([...seeds.values()])
}

const sizesOf = ({ sizes }: Family): number => new Set(sizes.map(({ parameters }) => parameters)).size

function growth(family: Family): string {
  const { name, sizes } = family
  const trend = trendOf(family)
  if (trend === null)
    return `${name}: a trend over model size takes two sizes with the same seed; there is ${plural(sizesOf(family), 'size')} so far.`
  const digits = digitsOf(trend)
  const slope = `${signed(trend.slope, digits)} nats a token for tenfold parameters`
  const span = `${plural(sizesOf(family), 'size')} from ${count(sizes[0]?.parameters)} to ${count(sizes.at(-1)?.parameters)} parameters`
  if (trend.interval === null)
    return `${name}: the gain changes by ${slope} with the one seed that ran at several sizes (${span}); one seed has no interval, so no trend is found yet.`
  const sure = `95 % interval ${range(trend.interval, digits)}, ${plural(trend.groups, 'seed')}, ${span}`
  if (trend.interval[0] > 0)
    return `${name}: the gain grows with model size, by ${fixed(trend.slope, digits)} nats a token for tenfold parameters (${sure}).`
  if (trend.interval[1] < 0) return `${name}: the gain shrinks with model size: ${slope} (${sure}).`
  return `${name}: no trend of the gain with model size found: ${slope} (${sure}).`
}

function figure(id: string, family: Family, families: number): ScatterFigure | null {
  const { name, sizes } = family
  const [first, last] = [sizes[0], sizes.at(-1)]
  if (first === undefined || last === undefined) return null
  const trend = trendOf(family)
  const ends = [first.parameters, last.parameters] as const
  return {
    kind: 'figure',
    id: slug(families > 1 ? `${id}-gain-${name}` : `${id}-gain`),
    caption: `Gain of ${name}: held-out loss of the baseline minus that of the arm, by seed, at each model size, with the 95 % interval${trend ? '; the line is the mean of the lines of seeds' : ''}.`,
    form: 'scatter',
    x: { label: 'parameters', scale: 'log' },
    y: { label: 'gain, nats a token', scale: 'linear' },
    points: sizes.flatMap(({ comparison: { arm, estimate }, parameters }) =>
      estimate === null
        ? []
        : [
            {
              label: arm,
              group: name,
              x: parameters,
              y: -estimate.mean,
              ...(estimate.interval ? { low: -estimate.interval[1], high: -estimate.interval[0] } : {}),
            },
          ],
    ),
    ...(trend ? { trend: ends.map((x) => [x, trend.intercept + trend.slope * Math.log10(x)] as const) } : {}),
  }
}

function trends(families: readonly Family[]): Table | null {
  return table(
    'Trend of the gain: nats a token for tenfold parameters, one line a seed, with the 95 % interval over seeds.',
    ['Arms', 'Sizes', 'Seeds', 'Slope'],
    families.flatMap((family) => {
      const trend = trendOf(family)
      if (trend === null) return []
      const { slope: mean, interval, p, groups: n } = trend
      return [[family.name, String(sizesOf(family)), String(n), withInterval({ n, mean, interval, p })]]
    }),
  )
}

function sizeTable(families: readonly Family[]): Table | null {
  return table(
    'Gain by model size: baseline minus arm by seed, with its 95 % interval.',
    ['Arm', 'Baseline', 'Parameters', 'Active', 'Seeds', 'Gain', 'FLOPs ratio'],
    families.flatMap(({ sizes }) =>
      sizes.map(({ comparison: { arm, baseline, pairs, estimate, flops }, parameters }) => [
        arm,
        baseline,
        count(parameters),
        count(
          meanOf(
            pairs.map((pair) => pair.arm),
            (run) => run.activeParameters,
          ),
        ),
        String(pairs.length),
        withInterval(
          estimate && {
            ...estimate,
            mean: -estimate.mean,
            interval: estimate.interval && [-estimate.interval[1], -estimate.interval[0]],
          },
        ),
        ratioText(flops),
      ]),
    ),
  )
}
