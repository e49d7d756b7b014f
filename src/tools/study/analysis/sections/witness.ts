/** Published trends compared with this study: one row per claim, and a figure of each trend. */

import { dash } from '../../../../core/text/numbers.ts'
import type { Cell, ScatterFigure, Table } from '../../../report/blocks.ts'
import { estimateMean, regressionWithin } from '../../statistics.ts'
import type { ClaimAnswer } from '../claims/answers.ts'
import type { Answer } from '../claims/decision.ts'
import { linesOf, type Point, pointsOf } from '../claims/effects.ts'
import { answerText, detectableRemark, effectCell, toneOf } from '../claims/text.ts'
import type { Runs } from '../runs.ts'
import { footnotes, MIN_POINTS, slug, table } from '../tables.ts'

const answerWords: Readonly<Record<Answer, string>> = {
  holds: 'agrees',
  'does not hold': 'disagrees',
  undecided: 'undecided',
}

export const witnessBlocks = (
  runs: Runs,
  id: string,
  answers: readonly ClaimAnswer[],
): readonly (Table | ScatterFigure | null)[] => [
  witnessTable(runs, answers),
  ...answers.map((answered, i) => trendFigure(runs, `${id}-trend-${i + 1}`, answered)),
]

function witnessTable(runs: Runs, answers: readonly ClaimAnswer[]): Table | null {
  const rows = answers.map((answered): Cell[] => {
    const { claim, answer, uncorrected, deciding, dependsOnText, seesFuture } = answered
    const remark = detectableRemark(answered)
    return [
      { text: claim.statement, ...(claim.source && { note: claim.source }) },
      {
        text: `${answerText({ answer, uncorrected }, answerWords[uncorrected])}${seesFuture ? ' †' : ''}${dependsOnText ? ' ‖' : ''}`,
        tone: toneOf(uncorrected),
        ...(remark !== null && { note: remark }),
      },
      claim.published ?? dash,
      deciding ? effectCell(deciding) : dash,
      deciding?.unit ?? dash,
    ]
  })
  const arms = answers.flatMap(({ decisions }) => decisions.flatMap((one) => one.arms))
  return table(
    'claims',
    `Published claims and what this study finds, with its 95 % interval over seeds. Agrees: the whole interval is as the claim states. Disagrees: none of it is. Undecided: a part is. °: does not survive Holm's correction for all claims of the report.${answers.some(({ dependsOnText }) => dependsOnText) ? ' ‖: the interval over documents instead of seeds allows for another result.' : ''}${footnotes(runs, arms)}`,
    ['Claim', 'Result', 'Published', 'Here', 'Unit'],
    rows,
    [0, 1, 2, 4],
  )
}

/** Losses minus the loss of the first arm, seed by seed, which cancels the text and start of the seed. */
function fromFirst(points: readonly Point[]): readonly Point[] {
  const [first] = points
  return points.map((point) => ({
    ...point,
    bySeed: new Map(
      [...point.bySeed].flatMap(([seed, loss]) => {
        const level = first?.bySeed.get(seed)
        return level === undefined ? [] : [[seed, loss - level] as const]
      }),
    ),
  }))
}

function trendFigure(runs: Runs, id: string, { claim, question, decisions }: ClaimAnswer): ScatterFigure | null {
  if (claim.kind !== 'trend') return null
  const intervals = runs.intervalsFor(decisions.flatMap(({ arms }) => arms))
  const measured = pointsOf(runs, claim, question)
  const points = claim.arms ? fromFirst(measured) : measured
  const drawn = points.flatMap(({ label, x, bySeed }, i) => {
    const estimate = estimateMean([...bySeed.values()], intervals)
    if (estimate === null) return []
    const isReference = claim.arms && i === 0
    const ends = estimate.interval && !isReference ? { low: estimate.interval[0], high: estimate.interval[1] } : {}
    return [{ label, group: 'arms', x: 2 ** x, y: estimate.mean, ...ends }]
  })
  if (drawn.length < MIN_POINTS) return null
  const line = regressionWithin(linesOf(points), intervals)
  const [first, last] = [points[0], points.at(-1)]
  const over = claim.over.split('.').at(-1) ?? claim.over
  const level = claim.arms ? `that of ${first?.label ?? 'the first'}` : 'the baseline'
  return {
    kind: 'figure',
    id: slug(id),
    caption: `${claim.statement}. Held-out loss minus ${level} by seed, with its 95 % interval; the line is the mean of the lines fitted to each seed.`,
    form: 'scatter',
    x: { label: over, scale: 'log' },
    y: { label: `loss minus ${level}, nats a token`, scale: 'linear' },
    points: drawn,
    ...(line && first && last
      ? { trend: [first, last].map(({ x }) => [2 ** x, line.intercept + line.slope * x] as const) }
      : {}),
  }
}
