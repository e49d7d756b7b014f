/**
 * The answers of a study in a terminal: the headline of the report and the table that opens it, strongest finding
 * first. A claim takes two lines: the answer with its numbers, and what they are about. Where the table has no room, the
 * numbers are below the claim.
 */

import { indented, table, widthOf, wrap } from '../../../../core/text/columns.ts'
import { dash } from '../../../../core/text/numbers.ts'
import { printable } from '../../../../core/text/printable.ts'
import type { StudyReport } from '../../../../tools/study/analysis/analyse.ts'
import type { Finding, FindingMark } from '../../../../tools/study/analysis/opening.ts'
import type { Colors } from '../../io.ts'

const TITLES = ['claim', 'answer', 'effect', '95 % interval'] as const

/** Fewest columns of a claim in the table. */
const MIN_ROOM = 24

/** Longest line of a sentence. */
const MAX_SENTENCE = 100

/** Explanations of marks, in the order of the report. A mark that does not occur is not explained. */
const marks = {
  '°': "does not survive Holm's correction for all claims",
  '†': 'an arm sees later tokens, so this is no answer for a causal model',
  '‡': 'another evaluation capacity gives the opposite answer',
  '§': 'the answer depends on whether arms have their own best learning rate',
  '‖': 'other documents may give another answer',
  '¶': 'an arm is compared without a capacity limit',
  anytime: 'the interval holds however often one looks while seeds arrive',
} satisfies Record<FindingMark, string>

/** @param columns Columns of the terminal; Infinity if there is no terminal. Text without any answer is empty. */
export function answersText(
  { headline, findings }: Pick<StudyReport, 'headline' | 'findings'>,
  colors: Colors,
  columns: number,
): string {
  const sentence = (text: string) => indented(wrap(printable(text), Math.min(columns, MAX_SENTENCE) - 2))
  const shown = findings.map(printableFinding)
  const blocks = [
    ...(headline === undefined ? [] : [sentence(headline).map((line) => colors.bold(line))]),
    ...(shown.length === 0 ? [] : [rowsOf(shown, colors, columns)]),
    ...(shown.length === 0
      ? []
      : [
          notes(shown)
            .flatMap(sentence)
            .map((line) => colors.dim(line)),
        ]),
  ]
  return blocks.map((lines) => `\n${lines.join('\n')}\n`).join('')
}

/** Names in a finding may be a stranger's; their control characters are shown, which makes them longer. */
const printableFinding = ({ question, measured, ...rest }: Finding): Finding => ({
  ...rest,
  question: printable(question),
  measured: measured && { ...measured, label: printable(measured.label) },
})

function rowsOf(findings: readonly Finding[], colors: Colors, columns: number): string[] {
  const cells = findings.map(({ answer, measured }) => [answer, measured?.effect ?? dash, measured?.interval ?? dash])
  const others = [0, 1, 2].map((i) => Math.max(...[TITLES.slice(1), ...cells].map((row) => widthOf(row[i] ?? ''))))
  const room = columns - 2 - others.reduce((sum, width) => sum + 2 + width, 0)
  if (room < MIN_ROOM) return findings.flatMap((finding) => paragraph(finding, colors, columns))
  const questions = findings.map(({ question }) => wrap(question, room))
  const rows = findings.flatMap((finding, i) => {
    const [, effect = '', interval = ''] = cells[i] ?? []
    const [first = '', ...more] = questions[i] ?? []
    return [[first, coloured(finding, colors), effect, interval], ...more.map((line) => [line])]
  })
  const lines = indented(table([TITLES.map((title) => colors.dim(title)), ...rows], 'llrl'))
  return [
    ...lines.splice(0, 1),
    ...findings.flatMap((finding, i) => [...lines.splice(0, questions[i]?.length), ...about(finding, colors, columns)]),
  ]
}

/** A finding where there is no room for a table. */
function paragraph(finding: Finding, colors: Colors, columns: number): string[] {
  const { question, measured } = finding
  const numbers = measured ? wrap(`${measured.effect}, 95 % interval ${measured.interval}`, columns - 4) : []
  return [
    ...indented(wrap(`${question}: ${coloured(finding, colors)}`, columns - 2)),
    ...indented(indented(numbers)),
    ...about(finding, colors, columns),
  ]
}

/** The contrast, the unit and a remark, below a claim. */
function about({ measured, remark }: Finding, { dim }: Colors, columns: number): string[] {
  const parts = [
    ...(measured ? [measured.label, measured.unit] : ['not enough runs yet']),
    ...(remark === null ? [] : [remark]),
  ]
  return indented(indented(wrap(parts.join('; '), Math.min(columns, MAX_SENTENCE) - 4).map((line) => dim(line))))
}

/** Green and red mean better and worse, as in the report. An answer to a claim is bold: it may hold that an arm is worse. */
function coloured({ answer, tone }: Finding, { green, red, yellow, bold }: Colors): string {
  return { better: green, worse: red, strong: bold, open: yellow }[tone](answer)
}

/** How to read the effects, and the marks that occur. */
function notes(findings: readonly Finding[]): string[] {
  const occurring = new Set<string>(findings.flatMap((finding) => finding.marks))
  return [
    'Effect: negative, or below ×1, if the arm has the lower loss or needs less than its baseline.',
    ...Object.entries(marks).flatMap(([mark, meaning]) => (occurring.has(mark) ? [`${mark}: ${meaning}.`] : [])),
  ]
}
