/** The questions of a study in a terminal before it runs: what they compare, and what their claims expect. */

import { wrap } from '../../../../core/text/columns.ts'
import { joinWords } from '../../../../core/text/numbers.ts'
import { printable } from '../../../../core/text/printable.ts'
import type { Contrast } from '../../../../tools/study/contract.ts'
import type { ClaimPlan, QuestionPlan } from '../../../../tools/study/estimate/question-plans.ts'
import type { Colors } from '../../io.ts'

/** Longest line. */
const MAX_LINE = 100

/** Lines of the questions, below a line for each title. @param columns Columns of the terminal */
export function questionsText(questions: readonly QuestionPlan[], { bold, dim }: Colors, columns: number): string {
  const lines = (indent: number, text: string) =>
    wrap(printable(text), Math.min(columns, MAX_LINE) - indent - 2).map(
      (line, i) => `${' '.repeat(i === 0 ? indent : indent + 2)}${line}`,
    )
  return questions
    .flatMap(({ title, contrasts, claims }) => [
      ...lines(2, title).map((line) => bold(line)),
      ...lines(4, contrastsText(contrasts)).map((line) => dim(line)),
      ...claims.flatMap((claim) => [
        ...lines(4, `claim: ${claim.statement}`),
        ...lines(6, claimText(claim, contrasts)),
        ...(claim.controls.length > 0 ? lines(6, controlsText(claim)).map((line) => dim(line)) : []),
      ]),
    ])
    .map((line) => `${line}\n`)
    .join('')
}

function claimText({ number, expected, of, contrasts, arms }: ClaimPlan, ofQuestion: readonly Contrast[]): string {
  const about =
    arms.length > 0
      ? `of ${joinWords(arms)}`
      : JSON.stringify(contrasts) === JSON.stringify(ofQuestion) && contrasts.length > 1
        ? `${of ?? 'all'} of these contrasts`
        : `${of !== null && contrasts.length > 1 ? `${of} of: ` : ''}${contrastsText(contrasts)}`
  return `expects the ${number}: ${expected}; ${about}`
}

const controlsText = ({ controls }: ClaimPlan): string =>
  `controls: ${controls.map(({ name, baseline, arm }) => `${name} (${arm} against ${baseline})`).join('; ')}`

/** Contrasts by their baselines: `top-2 and hash against top-1; large against small`. */
function contrastsText(contrasts: readonly Contrast[]): string {
  const byBaseline = new Map<string, string[]>()
  for (const { baseline, arm } of contrasts) byBaseline.set(baseline, [...(byBaseline.get(baseline) ?? []), arm])
  return [...byBaseline].map(([baseline, arms]) => `${joinWords(arms)} against ${baseline}`).join('; ')
}
