/**
 * Does the gain grow with model size? A gain is baseline minus arm, so more is better. Every contrast is
 * one size; a family is the same kind of arm against the
 * same kind of baseline (2 top-1 against top-1, say) at several sizes. The trend is a slope over
 * the logarithm of parameters, one a seed, since the runs of a seed share their text and order.
 */
import type { ScatterFigure, Table } from '../../report/index.ts'
import type { Question } from '../contract.ts'
import { holm, regressionWithin } from '../statistics.ts'
import { type Comparison, compareAll } from './comparison.ts'
import { count, digitsOf, fixed, plural, range, ratioText, signed, withInterval } from './numbers.ts'
import { details, type Findings } from './plain.ts'
import type { Runs } from './runs.ts'
import { kindsOf } from './scale-kinds.ts'
import { armTable, forest, meanOf, present, slug, table } from './tables.ts'
import { lostIn } from './words.ts'

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
        : growths(families).join(' '),
      ...details(runs, comparisons),
    ],
    blocks: present([
      ...families.map((family, i) => figure(families.length > 1 ? `${id}-gain-${i + 1}` : `${id}-gain`, family)),
      trends(families),
      sizeTable(families),
      forest(id, comparisons),
      armTable(runs, comparisons),
    ]),
  }
}

function familiesOf(runs: Runs, comparisons: readonly Comparison[]): Family[] {
  const known = comparisons.flatMap((comparison): Size[] => {
    const parameters = meanOf(
      comparison.pairs.map(({ arm }) => arm),
      (run) => run.parameters,
    )
    return parameters === null || parameters <= 0 ? [] : [{ comparison, parameters }]
  })
  const kinds = kindsOf(runs, comparisons)
  // Training may be set by size, a learning rate for each; but where a size is there twice, it tells two families apart.
  const loose = grouped(known, ({ comparison }) => kinds.of(comparison, false))
  const families = loose.flatMap((sizes) =>
    new Set(sizes.map(({ parameters }) => parameters)).size === sizes.length
      ? [sizes]
      : grouped(sizes, ({ comparison }) => kinds.of(comparison, true)),
  )
  const names = kinds.names(families.flatMap(([first]) => first?.comparison ?? []))
  return families.map((sizes, i) => ({
    name: names[i] ?? '',
    sizes: sizes.toSorted((a, b) => a.parameters - b.parameters),
  }))
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const found = new Map<string, T[]>()
  for (const item of items) found.set(keyOf(item), [...(found.get(keyOf(item)) ?? []), item])
  return [...found.values()]
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

/** Trends are claims of their own beside the differences in loss: they share one correction. */
function growths(families: readonly Family[]): string[] {
  const p = families.map((family) => trendOf(family)?.p ?? null)
  const known = p.filter((value) => value !== null)
  const adjusted = holm(known)
  let next = 0
  return families.map((family, i) => {
    const sure = p[i] === null || (adjusted[next++] ?? 1) < 0.05
    return growth(family, sure ? '' : lostIn(`the ${known.length} trends of this section`))
  })
}

/** @param lost said of a trend with an interval clear of nought that does not survive the correction */
function growth(family: Family, lost: string): string {
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
    return `${name}: the gain grows with model size, by ${fixed(trend.slope, digits)} nats a token for tenfold parameters (${sure})${lost}.`
  if (trend.interval[1] < 0) return `${name}: the gain shrinks with model size: ${slope} (${sure})${lost}.`
  return `${name}: no trend of the gain with model size found: ${slope} (${sure}).`
}

function figure(id: string, family: Family): ScatterFigure | null {
  const { name, sizes } = family
  const [first, last] = [sizes[0], sizes.at(-1)]
  if (first === undefined || last === undefined) return null
  const trend = trendOf(family)
  const ends = [first.parameters, last.parameters] as const
  return {
    kind: 'figure',
    id: slug(id),
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
    'Trend of the gain: nats a token for tenfold parameters, one line a seed, with the 95 % interval over seeds, before Holm’s correction.',
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
