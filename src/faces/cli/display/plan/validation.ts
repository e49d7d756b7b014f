/** `choir plan --validate` as text. */

import { bytes, fixed, percent, shortTime } from '../../../../core/text/numbers.ts'
import { COVERAGE } from '../../../../tools/plan/fit/intervals.ts'
import type { Accuracy, Validated, Validation } from '../../../../tools/plan/validate.ts'
import type { Colors } from '../../io.ts'
import { titledTable } from '../text-layout.ts'

/**
 * Tables of predictions beside published measurements, and of the errors by system.
 * @param columns columns of the terminal, into which the tables fit
 */
export function validationText({ rows, accuracy, factors }: Validation, colors: Colors, columns = Infinity): string {
  const of = (metric: Validated['metric']) => accuracy.filter((each) => each.metric === metric)
  return [
    '',
    ...rowTable('step time', rows, shortTime, colors, columns),
    '',
    ...rowTable('memory', rows, bytes, colors, columns),
    '',
    ...accuracyTable('step time', of('step time'), colors, columns),
    '',
    ...accuracyTable('memory', of('memory'), colors, columns),
    '',
    ...totals(accuracy).map((line) => `  ${line}`),
    '',
    `  A prediction is printed with its ${percent(COVERAGE, 0)} interval: step times within a factor of ${fixed(factors.stepTime, 2)} (${fixed(factors.stepTimeUnfitted, 2)} on`,
    `  devices without fitted constants), memory within ${fixed(factors.memory, 2)}.`,
    `  ${colors.dim('Left out: predicted with constants that no row of the system was fitted to. Sources and assumptions: --json.')}`,
    '',
    '',
  ].join('\n')
}

const signed = (error: number): string => `${error >= 0 ? '+' : '−'}${percent(Math.abs(error), 0)}`

function rowTable(
  metric: Validated['metric'],
  rows: readonly Validated[],
  shown: (value: number) => string,
  colors: Colors,
  columns: number,
): string[] {
  const isTime = metric === 'step time'
  const cells = rows
    .filter((each) => each.metric === metric)
    .map(({ row, published, predicted, error, predictedLeftOut, errorLeftOut, held }) => [
      row.id,
      shown(published),
      shown(isTime ? predictedLeftOut : predicted),
      signed(isTime ? errorLeftOut : error),
      isTime ? signed(error) : '',
      row.derived ? 'rule from it' : held ? '' : 'outside',
    ])
  const titles = [metric, 'published', isTime ? 'left out' : 'predicted', 'error', isTime ? 'fitted' : '', 'interval']
  return titledTable(titles, cells, 'lrrrrl', colors, columns)
}

function accuracyTable(
  metric: Validated['metric'],
  accuracy: readonly Accuracy[],
  colors: Colors,
  columns: number,
): string[] {
  const cells = accuracy
    .filter(({ system }) => system !== 'all')
    .map(({ system, rows, leftOut, fitted, bias, held }) => [
      system,
      String(rows),
      percent(leftOut, 0),
      metric === 'step time' ? percent(fitted, 0) : '',
      signed(Math.expm1(bias)),
      percent(held, 0),
    ])
  const titles = [
    `${metric} by system`,
    'rows',
    'median error, left out',
    metric === 'step time' ? 'fitted' : '',
    'mean',
    'in interval',
  ]
  return titledTable(titles, cells, 'lrrrrr', colors, columns)
}

/** Median errors over all systems, and the share of the measurements that the intervals hold. */
function totals(accuracy: readonly Accuracy[]): string[] {
  const all = (metric: Validated['metric']) => accuracy.find((each) => each.metric === metric && each.system === 'all')
  const time = all('step time')
  const memory = all('memory')
  if (!time || !memory) return []
  return [
    `step time, systems of which no row was fitted: median absolute error ${percent(time.leftOut)} over ${time.rows} rows`,
    `step time, all rows fitted: ${percent(time.fitted)}`,
    `memory, ${memory.rows} rows that no rule was derived from: ${percent(memory.leftOut)}`,
    `${percent(COVERAGE, 0)} intervals hold ${percent(time.held, 0)} of the step times and ${percent(memory.held, 0)} of the memories`,
  ]
}
