/**
 * Turns the results of a study into its report: one table with the answers to all claims, the predictions, one section per
 * question, then expert specialisation, differences by domain and on other text, the set-up, all arms, learning rates and missing runs.
 * The analysis never fails because runs are missing.
 */

import { fixed } from '../../../core/text/numbers.ts'
import type { Report, Section } from '../../report/report.ts'
import type { StudyResults } from '../contract.ts'
import { answersOf } from './claims/answers.ts'
import { factsOf, missingSection } from './facts.ts'
import { type Finding, opening } from './opening.ts'
import { predictionSection } from './predictions.ts'
import { Runs } from './runs.ts'
import { analyseSearch } from './search/report.ts'
import { sectionOf } from './section.ts'
import { bestArm, bestLossText, bestOfSweep } from './sections/best-arm.ts'
import { domainSection } from './sections/domains.ts'
import { otherTextSection } from './sections/other-text.ts'
import { distinctContrasts } from './sections/routing.ts'
import { setUpSection } from './sections/set-up.ts'
import { specialisationSection } from './sections/specialisation.ts'
import { tuningSection } from './sections/tuning.ts'
import { armRouting, armTable, shownBlocks } from './tables.ts'

export interface StudyReport extends Report {
  /** The answers, strongest finding first; empty for a search, whose answer is the headline. */
  readonly findings: readonly Finding[]
}

export function analyse(results: StudyResults): StudyReport {
  if (results.search) return { ...analyseSearch(results, results.search), findings: [] }
  const runs = new Runs({
    ...results,
    questions: results.questions.map((question) => ({ ...question, contrasts: distinctContrasts(question.contrasts) })),
  })
  const { questions } = runs.results
  const answers = answersOf(runs)
  const questionSections = questions.map((question, i) =>
    sectionOf(
      runs,
      question,
      answers.filter((answer) => answer.question === question),
      i === questions.findIndex(({ view }) => view !== 'witness'),
    ),
  )
  const summary = questions.length > 0 ? opening(runs, answers, questionSections) : null
  const predictions = predictionSection(runs)
  const arms = [...new Set(results.cells.map(({ arm }) => arm))].filter((arm) => runs.finished(arm).length > 0)
  const otherSections = [
    specialisationSection(runs),
    domainSection(runs),
    otherTextSection(runs),
    setUpSection(runs, arms),
    armSection(runs, arms),
    tuningSection(runs),
  ]
  return {
    title: results.title,
    ...(summary?.headline !== undefined && { headline: summary.headline }),
    facts: factsOf(runs),
    command: results.command,
    sections: [
      ...(summary ? [summary.section] : []),
      ...(predictions ? [predictions] : []),
      ...questionSections.map(({ section }) => section),
      ...[...otherSections, missingSection(results)].filter((section) => section !== null),
    ],
    findings: summary?.findings ?? [],
  }
}

function armSection(runs: Runs, arms: readonly string[]): Section | null {
  if (arms.length === 0) return null
  return {
    id: 'arms',
    title: 'All arms',
    about: '',
    verdicts: [lossRange(runs, arms)],
    blocks: shownBlocks([armTable(runs, arms), armRouting(runs, arms)]),
  }
}

/** A sentence about the best arm. If the report opens with that arm, it is about how far the last arm is behind. */
function lossRange(runs: Runs, arms: readonly string[]): string {
  const best = bestArm(runs, arms)
  if (best === null) {
    const compared = runs.comparing(arms)
    return arms.every((arm) => compared.leakOf(arm) !== null)
      ? 'Every arm sees later tokens.'
      : 'No arm is called the best, because the causal arms have no finished seed on the same text in common.'
  }
  const opens = runs.results.questions.some((question) => bestOfSweep(runs, question)?.arm === best.arm)
  const last = best.rivals.at(-1)
  if (!opens || last === undefined)
    return `The causal arm with the lowest held-out loss is ${best.arm}: ${bestLossText(best)}.`
  return `From the best arm to the last, ${last.arm}, the held-out loss rises by ${fixed(last.behind.mean, 3)} nats a token.`
}
