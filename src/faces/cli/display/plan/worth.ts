/** The answer of `choir worth` as text. */

import { titledTable, wrap } from '../../../../core/text/columns.ts'
import { bytes, count, dash, grouped, plural, shortTime, signed, significant } from '../../../../core/text/numbers.ts'
import type { BreakEven } from '../../../../tools/law/forecast.ts'
import type { Worth, WorthRow } from '../../../../tools/plan/worth/worth.ts'
import type { Colors } from '../../io.ts'
import { labelled } from '../display.ts'

const WIDTH = 100

export function worthText(worth: Worth, name: string, colors: Colors): string {
  const { tokens, active, activeParameters, law, beyond, otherSettings, rows, citations, advice } = worth
  const facts: [string, string][] = [
    ['model', `${count(activeParameters)} active parameters, ${count(active)} without tables that are only looked up`],
    ['training', `${grouped(tokens)} tokens, ${significant(tokens / active)} for each of the ${count(active)}`],
    ['law', `top-1, of study ${law.study}, ${plural(law.runs, 'run')} on ${law.source.join(', ')}`],
  ]
  const paragraph = (text: string, paint: (line: string) => string = (line) => line) => [
    ...wrap(text, WIDTH).map((line) => `  ${paint(line)}`),
    '',
  ]
  return [
    '',
    `  ${colors.bold(name)}`,
    '',
    labelled(facts, colors),
    ...paragraph(advice, colors.bold),
    ...costs(rows, beyond === null, colors),
    '',
    ...(beyond === null
      ? [...paragraph(explanation(rows), colors.dim), ...paragraph(textNote(law), colors.yellow)]
      : []),
    ...(otherSettings.length > 0
      ? paragraph(
          `The law was measured with other settings, and need not hold for these: ${otherSettings.join('; ')}.`,
          colors.yellow,
        )
      : []),
    ...citations.flatMap(({ source, finding, read }) =>
      paragraph(`${source} (read: ${read === 'text' ? 'the paper' : 'the abstract only'}): ${finding}.`, colors.dim),
    ),
  ].join('\n')
}

const explanation = (rows: readonly WorthRow[]): string =>
  'Compared: experts of which a token uses one, as large as the network of the dense model, and the dense model. ' +
  'Difference: loss with experts minus that of the dense model, nats a token, with its 80 % interval; below zero, experts ' +
  'pay. Break-even: tokens from which on they do. Equal time: the difference to a dense model that trains for as long' +
  (rows.some(({ experts, atEqualTime }) => experts > 1 && atEqualTime === null)
    ? `; ${dash} if that training is outside the law, or its time is not known.`
    : '.')

/** All runs of a law share one text, so nothing in its intervals can show how much gains differ between texts. */
const textNote = ({ source }: Worth['law']): string =>
  `The intervals hold for text like that of the law (${source.join(', ')}). On other text the gain may differ by more.`

type Column = readonly [title: string, align: 'l' | 'r', cell: (row: WorthRow) => string]

function costs(rows: readonly WorthRow[], isAnswered: boolean, colors: Colors): string[] {
  const [dense] = rows
  const ofDense = (value: number | null, of: number | null | undefined) =>
    value === null || !of ? '' : `(× ${significant(value / of)})`
  const sparse =
    (text: (row: WorthRow) => string): Column[2] =>
    (row) =>
      row.experts === 1 ? '' : text(row)
  const expected: Column[] = [
    ['difference', 'r', sparse(({ forecast }) => signed(forecast?.difference, 3))],
    [
      '80 % interval',
      'l',
      sparse(({ forecast }) => (forecast ? `${signed(forecast.low, 3)} to ${signed(forecast.high, 3)}` : '')),
    ],
    ['break-even', 'r', ({ breakEven }) => breakEvenText(breakEven)],
    ['equal time', 'r', sparse(({ atEqualTime }) => signed(atEqualTime, 3))],
  ]
  const published: Column = ['published law', 'r', sparse(({ published }) => signed(published, 3))]
  const columns: Column[] = [
    ['experts', 'r', ({ experts }) => (experts === 1 ? 'dense' : String(experts))],
    ...(isAnswered ? expected : []),
    ...(rows.some((row) => row.published !== null) ? [published] : []),
    ['parameters', 'r', ({ parameters }) => count(parameters)],
    ['memory', 'r', ({ memoryBytes }) => bytes(memoryBytes)],
    ['', 'l', ({ memoryBytes, fits }) => `${ofDense(memoryBytes, dense?.memoryBytes)}${fits ? '' : ' does not fit'}`],
    ['step', 'r', ({ stepSeconds }) => (stepSeconds === null ? dash : shortTime(stepSeconds))],
    ['', 'l', ({ stepSeconds }) => ofDense(stepSeconds, dense?.stepSeconds)],
  ]
  return titledTable(
    columns.map(([title]) => title),
    rows.map((row) => columns.map(([, , cell]) => cell(row))),
    columns.map(([, align]) => align).join(''),
    colors,
  )
}

function breakEvenText(found: BreakEven | null): string {
  if (!found) return ''
  return found.tokens === null ? 'not reached' : found.tokens === 0 ? 'from the start' : count(found.tokens)
}
