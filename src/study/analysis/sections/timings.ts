/**
 * Step times, measured alone on the machine by turns. Arms that compute the same numbers in another way
 * (a fused top-k, or k passes one after the other) belong into one table: what a routing costs depends
 * on how it is done as much as on what it is.
 */
import type { Table } from '../../../report/blocks.ts'
import { count, dash, fixed } from '../../../text/numbers.ts'
import type { Contrast, Timing } from '../../contract.ts'
import { range, ratioCell } from '../numbers.ts'
import { armsOf, mainBaseline, type Runs } from '../runs.ts'
import { timeRatio } from '../step-times.ts'
import { flopsPerToken, meanOf, table } from '../tables.ts'
import { differences } from './routing.ts'

const SELECTION = 'model.moe.selection'

/** The arms of a section that were timed, and those that differ from one of them only in how experts are selected. */
function timedArms(runs: Runs, contrasts: readonly Contrast[]): Timing[] {
  const arms = armsOf(contrasts)
  return runs.results.timings.filter(
    ({ arm, stepMs }) =>
      Number.isFinite(stepMs) && (arms.includes(arm) || arms.some((other) => differInSelection(runs, arm, other))),
  )
}

function differInSelection(runs: Runs, a: string, b: string): boolean {
  const paths = a === b ? [] : differences(runs, a, b)
  return paths.length === 1 && paths[0] === SELECTION
}

export function timingTable(runs: Runs, contrasts: readonly Contrast[]): Table | null {
  const timed = timedArms(runs, contrasts)
  const baseline = mainBaseline(contrasts)
  const selections = timed.map(({ arm }) => runs.wordSetting(arm, SELECTION, ''))
  const select = selections.some((selection) => selection !== '')
  return table(
    `Median time of a training step, alone on the machine, arms by turns. Ratio: to ${baseline ?? 'the baseline'}, turn by turn, with its 95 % interval.`,
    ['Arm', ...(select ? ['Selection'] : []), 'Step', 'Turns, lowest to highest', 'Ratio', 'FLOPs a token'],
    timed.map(({ arm, stepMs, turnsMs }, i) => [
      runs.label(arm),
      ...(select ? [selections[i] || 'fused'] : []),
      `${fixed(stepMs, 1)} ms`,
      turnsMs.length === 0 ? dash : `${range([Math.min(...turnsMs), Math.max(...turnsMs)], 1)} ms`,
      baseline === null || arm === baseline ? '1' : ratioCell(timeRatio(runs, baseline, arm), 2),
      count(meanOf(runs.finished(arm), flopsPerToken)),
    ]),
  )
}
