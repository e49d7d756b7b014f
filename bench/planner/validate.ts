/**
 * Prints predictions beside published measurements, and their errors by system and by class of programs. The tables of
 * docs/planner.md are made from it.
 *
 *     npx tsx bench/planner/validate.ts
 */
import { Command } from 'commander'
import { bytes, fixed, percent, shortTime } from '../../src/core/text/numbers.ts'
import { type Program, programs } from '../../src/tools/plan/inputs/constants.ts'
import { runCommand, tableText } from '../support/command.ts'
import { type Accuracy, type Validated, type Validation, validate } from './accuracy/validation.ts'

const signed = (error: number): string => `${error >= 0 ? '+' : '−'}${percent(Math.abs(error), 0)}`

const rowTable = (metric: Validated['metric'], { rows }: Validation): string => {
  const shown = metric === 'memory' ? bytes : shortTime
  const cells = rows
    .filter((each) => each.metric === metric)
    .map(({ row, published, predictedLeftOut, error, errorLeftOut, held }) => [
      row.id,
      shown(published),
      shown(predictedLeftOut),
      signed(errorLeftOut),
      signed(error),
      row.derived ? 'rule from it' : held ? '' : 'outside',
    ])
  return tableText([[metric, 'published', 'left out', 'error', 'fitted', 'interval'], ...cells], 'lrrrrl')
}

const accuracyTable = (metric: Validated['metric'], { accuracy }: Validation): string => {
  const cells = accuracy
    .filter((each) => each.metric === metric && each.system !== 'all')
    .map(({ program, system, rows, leftOut, fitted, bias, held }) => [
      program === 'fsdp' ? `${system} (FSDP)` : system,
      String(rows),
      percent(leftOut, 0),
      percent(fitted, 0),
      signed(Math.expm1(bias)),
      percent(held, 0),
    ])
  return tableText([[metric, 'rows', 'median, left out', 'fitted', 'mean', 'in interval'], ...cells], 'lrrrrr')
}

/** The errors and intervals of each class of programs, and whether published runs are predicted to fit. */
function classTable({ accuracy, factors, fits }: Validation): string {
  const column = (show: (program: Program) => string) => programs.map(show)
  const of = (metric: Validated['metric'], show: (accuracy: Accuracy) => string) =>
    column((program) => {
      const found = accuracy.find((each) => each.program === program && each.metric === metric && each.system === 'all')
      return found ? show(found) : ''
    })
  const factor = (name: keyof Validation['factors'][Program]) => column((program) => fixed(factors[program][name], 2))
  const check = (show: (fit: Validation['fits'][number]) => string) => fits.map((fit) => show(fit))
  return tableText(
    [
      ['', ...programs],
      ['step times: rows', ...of('step time', ({ rows }) => String(rows))],
      ['  median error, left out', ...of('step time', ({ leftOut }) => percent(leftOut))],
      ['  median error, all fitted', ...of('step time', ({ fitted }) => percent(fitted))],
      ['  factor of the interval', ...factor('stepTime')],
      ['  on devices without constants', ...factor('stepTimeUnfitted')],
      ['  rows in the interval', ...of('step time', ({ held }) => percent(held, 0))],
      ['memories: rows', ...of('memory', ({ rows }) => String(rows))],
      ['  median error', ...of('memory', ({ leftOut }) => percent(leftOut))],
      ['  factor of the interval', ...factor('memory')],
      ['  rows in the interval', ...of('memory', ({ held }) => percent(held, 0))],
      ['ran, and predicted to fit', ...check(({ ran, predictedToFit }) => `${predictedToFit} of ${ran}`)],
      [
        'out of memory, and predicted to fit',
        ...check(({ outOfMemory, predictedToFitWrongly }) => `${predictedToFitWrongly} of ${outOfMemory}`),
      ],
    ],
    'lrr',
  )
}

await runCommand(
  new Command('npx tsx bench/planner/validate.ts')
    .description('Compares predictions of `choir plan` with published measurements.')
    .action(() => {
      const validation = validate()
      const tables = (['step time', 'memory'] as const).flatMap((metric) => [
        rowTable(metric, validation),
        accuracyTable(metric, validation),
      ])
      process.stdout.write([...tables, classTable(validation)].join(''))
    }),
)
