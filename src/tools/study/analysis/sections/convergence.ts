/** Convergence: the table of costs to the same loss (measured by `cost-to-loss.ts`), and loss curves. */

import { fixed, joinWords } from '../../../../core/text/numbers.ts'
import type { Cell, LineFigure, Table } from '../../../report/blocks.ts'
import type { Contrast } from '../../contract.ts'
import { type Estimate, estimateRatio, type Intervals, mean, named } from '../../statistics.ts'
import { intervalOf } from '../claims/decision.ts'
import { armLines, evaluationTrack } from '../curves.ts'
import { ratioCell } from '../numbers.ts'
import { productOf } from '../ratios.ts'
import { armsOf, type Runs } from '../runs.ts'
import { footnotes, table } from '../tables.ts'
import { type CostToLoss, costToLoss, ratiosOf } from './cost-to-loss.ts'

export function costTable(runs: Runs, contrasts: readonly Contrast[]): Table | null {
  const costs = contrasts.map((contrast) => costToLoss(runs, contrast))
  const mismatched = costs.filter((cost) => cost.mismatches.length > 0)
  const note =
    mismatched.length === 0
      ? ''
      : ` Evaluated on different batches, so not compared: ${joinWords(mismatched.map(({ contrast, mismatches: why }) => `${contrast.arm} (${joinWords(why)})`))}.`
  const isMixed = costs.some(({ turns, bySeed }) => !turns && bySeed.some(({ seconds }) => Number.isNaN(seconds)))
  const machines = isMixed ? ' Seconds are those of pairs that were trained on one machine.' : ''
  return table(
    'cost',
    `Cost until both arms reach the higher of the two losses at the end of their curves, arm over baseline: geometric mean over seeds with its 95 % interval; below 1, the arm is sooner. The learning rate decays until the end, so low losses come late and ratios are closer to 1 than they would otherwise be.${machines}${note}${footnotes(
      runs,
      contrasts.flatMap(({ arm, baseline }) => [arm, baseline]),
    )}`,
    ['Arm', 'Loss', 'Steps of baseline', 'Steps of arm', 'Steps', 'FLOPs', 'Seconds'],
    costs.flatMap((cost): Cell[][] => {
      const { contrast, bySeed } = cost
      if (bySeed.length === 0) return []
      const intervals = runs.intervalsFor([contrast.baseline, contrast.arm])
      return [
        [
          { text: runs.label(contrast.arm), note: `against ${runs.label(contrast.baseline)}` },
          fixed(mean(bySeed.map(({ goal }) => goal)), 3),
          fixed(mean(bySeed.map(({ baseline }) => baseline)), 0),
          fixed(mean(bySeed.map(({ arm }) => arm)), 0),
          ratioCell(estimateRatio(ratiosOf(cost, 'steps'), intervals), 3),
          ratioCell(estimateRatio(ratiosOf(cost, 'flops'), intervals), 3),
          ratioCell(secondsOf(cost, intervals), 3),
        ],
      ]
    }),
  )
}

/** The ratio in seconds, from step times measured alone and with their error over turns, if both arms have them. */
function secondsOf(cost: CostToLoss, intervals: Intervals): Estimate | null {
  if (!cost.turns) return estimateRatio(ratiosOf(cost, 'seconds'), intervals)
  const effect = productOf(ratiosOf(cost, 'steps'), cost.turns, intervals)
  if (effect === null) return null
  const interval = intervalOf(effect)
  return {
    n: effect.n,
    mean: Math.exp(effect.mean),
    interval: interval && [Math.exp(interval[0]), Math.exp(interval[1])],
    p: null,
    ...named(intervals),
  }
}

export const evaluationFigure = (runs: Runs, id: string, contrasts: readonly Contrast[]): LineFigure | null =>
  armLines(
    runs.comparing(armsOf(contrasts)),
    armsOf(contrasts),
    { id: `${id}-evaluations`, caption: 'Held-out loss during training.', y: 'held-out loss, nats a token' },
    evaluationTrack,
  )
