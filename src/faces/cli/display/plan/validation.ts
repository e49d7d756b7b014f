/** `choir plan --validate` as text. */

import { bytes, fixed, percent, shortTime } from '../../../../core/text/numbers.ts'
import { COVERAGE } from '../../../../tools/plan/fit/intervals.ts'
import { type Program, programs } from '../../../../tools/plan/inputs/constants.ts'
import type { Accuracy, Validated, Validation } from '../../../../tools/plan/validate.ts'
import type { Colors } from '../../io.ts'
import { titledTable, wrap } from '../text-layout.ts'

const programNames: Readonly<Record<Program, string>> = { megatron: 'Megatron-like programs', fsdp: 'PyTorch FSDP' }

/** Columns that text is wrapped into at most. */
const LINE = 110

/**
 * Tables of predictions beside published measurements, and of the errors by system.
 * @param columns columns of the terminal, into which the tables fit
 */
export function validationText(validation: Validation, colors: Colors, columns = Infinity): string {
  const { rows, accuracy } = validation
  const wrapped = (text: string) => wrap(text, Math.min(columns, LINE) - 2).map((line) => `  ${line}`)
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
    ...classTable(validation, colors, columns),
    '',
    ...wrapped(
      'Left out: predicted with constants that no row of the system was fitted to. A prediction is printed with the ' +
        `${percent(COVERAGE, 0)} interval of its class (plan.program): a factor in both directions. Sources and assumptions: --json.`,
    ).map((line) => colors.dim(line)),
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
    .map(({ program, system, rows, leftOut, fitted, bias, held }) => [
      program === 'fsdp' ? `${system} (FSDP)` : system,
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

/** The errors and intervals of each class of programs, and whether published runs are predicted to fit. */
function classTable({ accuracy, factors, fits }: Validation, colors: Colors, columns: number): string[] {
  const of = (program: Program, metric: Validated['metric']) =>
    accuracy.find((each) => each.program === program && each.metric === metric && each.system === 'all')
  const column = (show: (program: Program) => string) => programs.map(show)
  const time = (show: (accuracy: Accuracy) => string) => column((program) => shownOr(of(program, 'step time'), show))
  const memory = (show: (accuracy: Accuracy) => string) => column((program) => shownOr(of(program, 'memory'), show))
  const check = (show: (fit: Validation['fits'][number]) => string) =>
    column((program) =>
      shownOr(
        fits.find((each) => each.program === program),
        show,
      ),
    )
  const factor = (name: keyof Validation['factors'][Program]) => column((program) => fixed(factors[program][name], 2))
  const cells = [
    ['step times: rows', ...time(({ rows }) => String(rows))],
    ['  median error, left out', ...time(({ leftOut }) => percent(leftOut))],
    ['  median error, all fitted', ...time(({ fitted }) => percent(fitted))],
    ['  factor of the interval', ...factor('stepTime')],
    ['  on devices without constants', ...factor('stepTimeUnfitted')],
    ['  rows in the interval', ...time(({ held }) => percent(held, 0))],
    ['memories: rows', ...memory(({ rows }) => String(rows))],
    ['  median error', ...memory(({ leftOut }) => percent(leftOut))],
    ['  factor of the interval', ...factor('memory')],
    ['  rows in the interval', ...memory(({ held }) => percent(held, 0))],
    ['ran, and predicted to fit', ...check(({ ran, predictedToFit }) => `${predictedToFit} of ${ran}`)],
    [
      'out of memory, and predicted to fit',
      ...check(({ outOfMemory, predictedToFitWrongly }) => `${predictedToFitWrongly} of ${outOfMemory}`),
    ],
  ]
  return titledTable(
    ['class of programs', ...programs.map((program) => programNames[program])],
    cells,
    'lrr',
    colors,
    columns,
  )
}

const shownOr = <Value>(value: Value | undefined, show: (value: Value) => string): string =>
  value === undefined ? '' : show(value)
