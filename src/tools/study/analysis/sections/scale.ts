/**
 * Does the gain grow with model size? A gain is baseline minus arm, so more is better. A contrast has one size;
 * a family is one kind of arm against one kind of baseline (for example 2 top-1 against top-1) at several
 * sizes. The trend is a slope over the logarithm of parameters, fitted for each seed, because the runs of a
 * seed share their text and order.
 */
import { groups } from 'd3-array'
import type { ScatterFigure, Table } from '../../../report/blocks.ts'
import type { Question } from '../../contract.ts'
import { holm, named, regressionWithin } from '../../statistics.ts'
import { linesOf } from '../claims/effects.ts'
import type { Comparison } from '../comparison.ts'
import { countCell, estimateCell, pCell } from '../numbers.ts'
import type { Runs } from '../runs.ts'
import { MIN_POINTS, meanOver, slug, table } from '../tables.ts'
import { familyKeys } from './scale-families.ts'

interface Size {
  readonly comparison: Comparison
  readonly parameters: number
}

interface Family {
  readonly name: string
  /** Sizes from the smallest model to the largest; only sizes with pairs. */
  readonly sizes: readonly Size[]
}

export function scaleBlocks(
  runs: Runs,
  { id }: Question,
  comparisons: readonly Comparison[],
): readonly (ScatterFigure | Table | null)[] {
  const families = familiesOf(runs, comparisons)
  return [
    trendTable(families),
    ...families.map((family) =>
      figure(runs, families.length > 1 ? slug(`${id}-gain-${family.name}`) : `${id}-gain`, family),
    ),
  ]
}

function familiesOf(runs: Runs, comparisons: readonly Comparison[]): Family[] {
  const sized = comparisons.flatMap((comparison): Size[] => {
    const parameters = meanOver(
      comparison.pairs.map(({ arm }) => arm),
      (run) => run.parameters,
    )
    return parameters === null || parameters <= 0 ? [] : [{ comparison, parameters }]
  })
  const kinds = familyKeys(runs, comparisons)
  // Training settings may go with the size (a learning rate for each). If a size occurs twice, they separate families.
  const families = groups(sized, ({ comparison }) => kinds.of(comparison, false)).flatMap(([, sizes]) =>
    new Set(sizes.map(({ parameters }) => parameters)).size === sizes.length
      ? [sizes]
      : groups(sizes, ({ comparison }) => kinds.of(comparison, true)).map(([, each]) => each),
  )
  const names = kinds.names(families.flatMap(([first]) => first?.comparison ?? []))
  return families.map((sizes, i) => ({
    name: names[i] ?? '',
    sizes: sizes.toSorted((a, b) => a.parameters - b.parameters),
  }))
}

/**
 * Trend of the gain over log₁₀ of parameters, one line for each seed with all sizes; the slope is in nats for ten times
 * the parameters.
 */
function trendOf({ sizes }: Family) {
  const points = sizes.map(({ comparison: { pairs, differences }, parameters }) => ({
    x: Math.log10(parameters),
    bySeed: new Map(pairs.map(({ seed }, i) => [seed, -(differences[i] ?? 0)])),
  }))
  const isOpen = sizes.some(({ comparison }) => comparison.intervals === 'anytime')
  return regressionWithin(linesOf(points), isOpen ? 'anytime' : 'student')
}

function figure(runs: Runs, id: string, family: Family): ScatterFigure | null {
  const { name, sizes } = family
  const [first, last] = [sizes[0], sizes.at(-1)]
  if (first === undefined || last === undefined || sizes.length < MIN_POINTS) return null
  const trend = trendOf(family)
  const ends = [first.parameters, last.parameters] as const
  return {
    kind: 'figure',
    id: slug(id),
    caption: `Gain of ${name}: held-out loss of the baseline minus that of the arm, by seed, at each model size, with the 95 % interval${trend ? '; the line is the mean of the lines fitted to each seed' : ''}.`,
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

/** The table of trends, whose p-values share one correction. */
function trendTable(families: readonly Family[]): Table | null {
  const found = families.map(trendOf)
  const adjusted = holm(found.map((trend) => trend?.p ?? null))
  return table(
    'gains',
    'Gain by model size: loss of the baseline minus that of the arm. Slope: change of the gain, in nats a token, for ten times the parameters (one line per seed), with its 95 % interval over seeds; above zero, the gain grows.',
    ['Arms', 'Sizes', 'Smallest', 'Largest', 'Seeds', 'Slope', 'p (Holm)'],
    families.flatMap((family, i) => {
      const trend = found[i]
      if (!trend) return []
      const { slope: mean, interval, p, groups: n, intervals } = trend
      return [
        [
          family.name,
          String(new Set(family.sizes.map(({ parameters }) => parameters)).size),
          countCell(family.sizes[0]?.parameters),
          countCell(family.sizes.at(-1)?.parameters),
          String(n),
          estimateCell({ n, mean, interval, p, ...named(intervals) }),
          pCell(adjusted[i]),
        ],
      ]
    }),
  )
}
