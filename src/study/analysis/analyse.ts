/**
 * Turns the results of a study into its report: one table with the answers to all claims, one section per
 * question, then expert specialisation, evaluation on other text, all arms, learning rates and missing runs.
 * The analysis never fails because runs are missing.
 */
import type { Report, Section } from '../../report/report.ts'
import { fixed } from '../../text/numbers.ts'
import type { StudyResults } from '../contract.ts'
import { mean } from '../statistics.ts'
import { answersOf } from './claims/answers.ts'
import { factsOf, missingSection } from './facts.ts'
import { opening } from './opening.ts'
import { Runs } from './runs.ts'
import { sectionOf } from './section.ts'
import { otherTextSection } from './sections/other-text.ts'
import { distinct } from './sections/routing.ts'
import { specialisationSection } from './sections/specialisation.ts'
import { tuningSection } from './sections/tuning.ts'
import { armTable, shownBlocks } from './tables.ts'

export function analyse(results: StudyResults): Report {
  const runs = new Runs({
    ...results,
    questions: results.questions.map((question) => ({ ...question, contrasts: distinct(question.contrasts) })),
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
  const otherSections = [specialisationSection(runs), otherTextSection(runs), armSection(runs), tuningSection(runs)]
  return {
    title: results.title,
    facts: factsOf(runs),
    command: results.command,
    sections: [
      ...(questions.length > 0 ? [opening(runs, answers, questionSections)] : []),
      ...questionSections.map(({ section }) => section),
      ...[...otherSections, missingSection(results)].filter((section) => section !== null),
    ],
  }
}

function armSection(runs: Runs): Section | null {
  const arms = [...new Set(runs.results.cells.map(({ arm }) => arm))].filter((arm) => runs.finished(arm).length > 0)
  if (arms.length === 0) return null
  return {
    id: 'arms',
    title: 'All arms',
    about: '',
    verdicts: [lowestLoss(runs, arms)],
    blocks: shownBlocks([armTable(runs, arms)]),
  }
}

function lowestLoss(runs: Runs, arms: readonly string[]): string {
  const losses = arms
    .filter((arm) => runs.leakOf(arm) === null)
    .flatMap((arm) => {
      const loss = mean(runs.finished(arm).map((run) => runs.lossOf(run)))
      return loss === null ? [] : [{ arm, loss }]
    })
  const [best] = losses.toSorted((a, b) => a.loss - b.loss)
  if (best === undefined) return 'Every arm sees later tokens.'
  return `The causal arm with the lowest held-out loss is ${best.arm}: ${fixed(best.loss, 3)} nats a token.`
}
