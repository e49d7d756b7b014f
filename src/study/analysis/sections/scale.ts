/**
 * Does the gain grow with model size? A gain is baseline minus arm, so more is better. Every contrast is
 * one size; a family is the same kind of arm against the same kind of baseline (2 top-1 against top-1, say)
 * at several sizes. The trend is a slope over
 * the logarithm of parameters, one a seed, since the runs of a seed share their text and order.
 */
import type { ScatterFigure, Table } from '../../../report/blocks.ts'
import { count } from '../../../text/numbers.ts'
import type { Question } from '../../contract.ts'
import { holm, regressionWithin } from '../../statistics.ts'
import type { Comparison } from '../comparison.ts'
import { chance, estimateCell } from '../numbers.ts'
import type { Runs } from '../runs.ts'
import { meanOf, slug, table } from '../tables.ts'
import { kindsOf } from './scale-kinds.ts'

interface Size {
  readonly comparison: Comparison
  readonly parameters: number
}

interface Family {
  readonly name: string
  /** From the smallest model to the largest; those with pairs only. */
  readonly sizes: readonly Size[]
}

export function scaleBlocks(
  runs: Runs,
  { id }: Question,
  comparisons: readonly Comparison[],
): readonly (ScatterFigure | Table | null)[] {
  const families = familiesOf(runs, comparisons)
  return [
    trends(families),
    ...families.map((family, i) => figure(runs, families.length > 1 ? `${id}-gain-${i + 1}` : `${id}-gain`, family)),
  ]
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
  // Training may be set by size, a learning rate for each; but where a size is there twice, it separates two families.
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

function figure(runs: Runs, id: string, family: Family): ScatterFigure | null {
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
              label: runs.label(arm),
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

/** Trends share one correction. */
function trends(families: readonly Family[]): Table | null {
  const found = families.map(trendOf)
  const adjusted = holm(found.flatMap((trend) => trend?.p ?? []))
  return table(
    'Gain by model size: baseline minus arm. Slope: nats a token for tenfold parameters, one line a seed, with the 95 % interval over seeds; above zero the gain grows.',
    ['Arms', 'Sizes', 'Smallest', 'Largest', 'Seeds', 'Slope', 'p (Holm)'],
    families.flatMap((family, i) => {
      const trend = found[i]
      if (!trend) return []
      const { slope: mean, interval, p, groups: n } = trend
      return [
        [
          family.name,
          String(new Set(family.sizes.map(({ parameters }) => parameters)).size),
          count(family.sizes[0]?.parameters),
          count(family.sizes.at(-1)?.parameters),
          String(n),
          estimateCell({ n, mean, interval, p }),
          chance(p === null ? null : adjusted.shift()),
        ],
      ]
    }),
  )
}
