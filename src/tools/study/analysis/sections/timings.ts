/**
 * Step times, measured with nothing else running, the arms taking turns. Arms that compute the same results in
 * different ways (a fused top-k, or k passes in sequence) share a table, because the cost of a routing depends
 * as much on its implementation as on its definition.
 */

import { dash, fixed } from '../../../../core/text/numbers.ts'
import type { Table } from '../../../report/blocks.ts'
import type { Contrast, Timing } from '../../contract.ts'
import { countCell, formatRange, ratioCell } from '../numbers.ts'
import { armsOf, mainBaseline, type Runs } from '../runs.ts'
import { timeRatio } from '../step-times.ts'
import { flopsPerToken, meanOver, table } from '../tables.ts'
import { differingPaths } from './routing.ts'

const SELECTION = 'model.moe.selection'

/** The timed arms of a section, and timed arms that differ from one of its arms only in how experts are selected. */
function timedArms(runs: Runs, contrasts: readonly Contrast[]): Timing[] {
  const arms = armsOf(contrasts)
  return runs.results.timings.filter(
    ({ arm, stepMs }) =>
      Number.isFinite(stepMs) && (arms.includes(arm) || arms.some((other) => differInSelection(runs, arm, other))),
  )
}

function differInSelection(runs: Runs, a: string, b: string): boolean {
  const paths = a === b ? [] : differingPaths(runs, a, b)
  return paths.length === 1 && paths[0] === SELECTION
}

export function timingTable(runs: Runs, contrasts: readonly Contrast[]): Table | null {
  const timed = timedArms(runs, contrasts)
  const baseline = mainBaseline(contrasts)
  const selections = timed.map(({ arm }) => runs.stringSetting(arm, SELECTION, ''))
  const selected = selections.some((selection) => selection !== '')
  const machine = runs.results.machine.includes('\n') ? timed[0]?.machine : undefined
  const where = machine === undefined ? '' : ` on ${machine}`
  return table(
    'step-times',
    `Median time of a training step, measured${where} with nothing else running, the arms taking turns. Ratio: over the step time of ${baseline ?? 'the baseline'}, turn by turn, with its 95 % interval.`,
    ['Arm', ...(selected ? ['Selection'] : []), 'Step', 'Turns, lowest to highest', 'Ratio', 'FLOPs a token'],
    timed.map(({ arm, stepMs, turnsMs }, i) => [
      runs.label(arm),
      ...(selected ? [selections[i] || 'fused'] : []),
      `${fixed(stepMs, 1)} ms`,
      turnsMs.length === 0 ? dash : `${formatRange([Math.min(...turnsMs), Math.max(...turnsMs)], 1)} ms`,
      baseline === null || arm === baseline ? '1' : ratioCell(timeRatio(runs, baseline, arm), 2),
      countCell(meanOver(runs.finished(arm), flopsPerToken)),
    ]),
  )
}
