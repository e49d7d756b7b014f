/**
 * The contrasts of a question over training tokens: each branch of a study (`grid/cells.ts`) is a complete run with
 * fewer tokens, so the same difference is measured at every length.
 */

import { describeModel } from '../../../../core/model/describe.ts'
import { significant } from '../../../../core/text/numbers.ts'
import type { Cell, LineFigure, Table } from '../../../report/blocks.ts'
import type { Question } from '../../contract.ts'
import { type Estimate, estimateMean, type Intervals } from '../../statistics.ts'
import { contrastMarks } from '../arm-marks.ts'
import type { Comparison } from '../comparison.ts'
import { countCell, digitsOfColumn, estimateCell } from '../numbers.ts'
import type { Pair, Runs } from '../runs.ts'
import { slug, table } from '../tables.ts'

/** A contrast at one length of training. */
interface Point {
  readonly tokens: number
  /** Training tokens over active parameters of the arm that compute, as in maps. */
  readonly ratio: number
  readonly differences: readonly number[]
  readonly estimate: Estimate
}

interface Line {
  readonly arm: string
  readonly baseline: string
  readonly mark: number
  /** Points by rising tokens; only lengths with a pair. */
  readonly points: readonly Point[]
}

/** The table and the figure of a question over training tokens; empty for a study without branches. */
export function branchBlocks(
  runs: Runs,
  { id }: Question,
  comparisons: readonly Comparison[],
): readonly (Table | LineFigure | null)[] {
  const { shares } = runs
  if (shares.length < 2) return []
  const marks = contrastMarks(runs, comparisons)
  const lines = comparisons.map((contrast, i): Line => {
    const points = shares.flatMap((share) => {
      const at = runs.withBasis({ share })
      return pointOf(at.pairs(contrast), at.differences(contrast), at.intervalsFor([contrast.baseline, contrast.arm]))
    })
    return { arm: runs.label(contrast.arm), baseline: runs.label(contrast.baseline), mark: marks[i] ?? i, points }
  })
  const several = new Set(lines.map(({ baseline }) => baseline)).size > 1
  return [tableOf(lines, several), figureOf(id, lines, several)]
}

function pointOf([first]: readonly Pair[], differences: readonly number[], intervals: Intervals): Point[] {
  const estimate = estimateMean(differences, intervals)
  if (first === undefined || estimate === null) return []
  const { tokens, config } = first.arm
  return [{ tokens, ratio: tokens / describeModel(config.model).computingParameters, differences, estimate }]
}

function tableOf(lines: readonly Line[], several: boolean): Table | null {
  const digits = digitsOfColumn(lines.flatMap(({ points }) => points.map(({ estimate }) => estimate)))
  return table(
    'tokens',
    'The same contrasts over training tokens. Every branch is a complete run, with the decay of its learning rate. Per active parameter: training tokens for each active parameter of the arm that computes; a table that is only looked up, such as that of token embeddings, does not count. Difference: held-out loss of the arm minus that of its baseline, by seed, nats a token, with its 95 % interval, not corrected for the number of branches.',
    ['Arm', 'Tokens', 'Per active parameter', 'Seeds', 'Difference'],
    lines.flatMap(({ arm, baseline, points }) =>
      points.map(({ tokens, ratio, estimate }): Cell[] => [
        several ? { text: arm, note: `against ${baseline}` } : arm,
        countCell(tokens),
        significant(ratio),
        String(estimate.n),
        estimateCell(estimate, digits),
      ]),
    ),
  )
}

function figureOf(id: string, lines: readonly Line[], several: boolean): LineFigure | null {
  const drawn = lines.filter(({ points }) => points.length > 0)
  if (drawn.length === 0) return null
  return {
    kind: 'figure',
    id: slug(`${id}-tokens`),
    caption: `Held-out loss of each arm minus that of ${several ? 'its baseline' : drawn[0]?.baseline}, over training tokens: the line is the mean over seeds, the band its 95 % interval at each length, a ring one seed. Below zero, the arm is better.`,
    form: 'lines',
    x: { label: 'training tokens', scale: 'log' },
    y: {
      label: `loss minus ${several ? "the baseline's" : `that of ${drawn[0]?.baseline}`}, nats a token`,
      scale: 'linear',
    },
    series: drawn.map(({ arm, baseline, mark, points }) => {
      const end = (side: 0 | 1) => points.map(({ estimate }) => estimate.interval?.[side] ?? estimate.mean)
      return {
        name: several ? `${arm} against ${baseline}` : arm,
        x: points.map(({ tokens }) => tokens),
        y: points.map(({ estimate }) => estimate.mean),
        ...(points.some(({ estimate }) => estimate.interval) && { low: end(0), high: end(1) }),
        dots: points.flatMap(({ tokens, differences }) => differences.map((y) => ({ x: tokens, y }))),
        mark,
      }
    }),
  }
}
