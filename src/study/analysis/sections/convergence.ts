/** Time to one loss, as a table and as curves: see `race.ts` for what is measured. */
import type { Cell, LineFigure, Table } from '../../../report/blocks.ts'
import { fixed, listed } from '../../../text/numbers.ts'
import type { Contrast } from '../../contract.ts'
import { type Estimate, estimateRatio, mean } from '../../statistics.ts'
import { intervalOf } from '../claims/decision.ts'
import { armLines, evaluationTrack } from '../curves.ts'
import { ratioCell } from '../numbers.ts'
import { productOf } from '../ratios.ts'
import { armsOf, type Runs } from '../runs.ts'
import { footnotes, table } from '../tables.ts'
import { type Measure, type Race, raceOf, ratiosOf } from './race.ts'

export function raceTable(runs: Runs, contrasts: readonly Contrast[]): Table | null {
  const races = contrasts.map((contrast) => raceOf(runs, contrast))
  const unlike = races.filter((race) => race.unlike.length > 0)
  const apart =
    unlike.length === 0
      ? ''
      : ` Evaluated on different batches, so not compared: ${listed(unlike.map(({ contrast, unlike: why }) => `${contrast.arm} (${listed(why)})`))}.`
  return table(
    `Cost until both arms are at the higher of their two final losses, arm over baseline: geometric mean over seeds with its 95 % interval; below 1 the arm is sooner. The learning rate decays to the end, so low losses come late and ratios are nearer to 1 than they would otherwise be.${apart}${footnotes(
      runs,
      contrasts.flatMap(({ arm, baseline }) => [arm, baseline]),
    )}`,
    ['Arm', 'Loss', 'Steps of baseline', 'Steps of arm', 'Steps', 'FLOPs', 'Seconds'],
    races.flatMap((race): Cell[][] => {
      const { contrast, reaches } = race
      if (reaches.length === 0) return []
      return [
        [
          { text: runs.label(contrast.arm), note: `against ${runs.label(contrast.baseline)}` },
          fixed(mean(reaches.map(({ goal }) => goal)), 3),
          fixed(mean(reaches.map(({ baseline }) => baseline)), 0),
          fixed(mean(reaches.map(({ arm }) => arm)), 0),
          ratioCell(estimateRatio(ratiosOf(race, 'steps')), 3),
          ratioCell(estimateRatio(ratiosOf(race, 'flops')), 3),
          ratioCell(secondsOf(race), 3),
        ],
      ]
    }),
  )
}

/** Over seeds, and over the turns of step times where both arms were timed alone. */
function secondsOf(race: Race): Estimate | null {
  const measure: Measure = race.turns ? 'steps' : 'seconds'
  const effect = race.turns ? productOf(ratiosOf(race, measure), race.turns) : null
  if (!race.turns) return estimateRatio(ratiosOf(race, measure))
  if (effect === null) return null
  const interval = intervalOf(effect)
  return {
    n: effect.n,
    mean: Math.exp(effect.mean),
    interval: interval && [Math.exp(interval[0]), Math.exp(interval[1])],
    p: null,
  }
}

export const raceFigure = (runs: Runs, id: string, contrasts: readonly Contrast[]): LineFigure | null =>
  armLines(
    runs,
    armsOf(contrasts),
    { id: `${id}-evaluations`, caption: 'Evaluations while training.', y: 'held-out loss, nats a token' },
    evaluationTrack,
  )
