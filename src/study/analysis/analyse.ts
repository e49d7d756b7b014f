/**
 * From the results of a study to its report. It opens with the answers to all claims in one table; then a
 * section a question, all in one form; then which experts serve whom, other text, all arms, learning rates
 * and runs that are missing. The analysis never fails for want of runs.
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
import { elsewhereSection } from './sections/elsewhere.ts'
import { distinct } from './sections/routing.ts'
import { specialisationSection } from './sections/specialisation.ts'
import { tuningSection } from './sections/tuning.ts'
import { armTable, present } from './tables.ts'

export function analyse(results: StudyResults): Report {
  const runs = new Runs({
    ...results,
    questions: results.questions.map((question) => ({ ...question, contrasts: distinct(question.contrasts) })),
  })
  const { questions } = runs.results
  const answers = answersOf(runs)
  const looked = questions.map((question, i) =>
    sectionOf(
      runs,
      question,
      answers.filter((answered) => answered.question === question),
      i === questions.findIndex(({ view }) => view !== 'witness'),
    ),
  )
  const others = [specialisationSection(runs), elsewhereSection(runs), armSection(runs), tuningSection(runs)]
  return {
    title: results.title,
    facts: factsOf(runs),
    command: results.command,
    sections: [
      ...(questions.length > 0 ? [opening(runs, answers, looked)] : []),
      ...looked.map(({ section }) => section),
      ...[...others, missingSection(results)].filter((section) => section !== null),
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
    verdicts: [lowest(runs, arms)],
    blocks: present([armTable(runs, arms)]),
  }
}

function lowest(runs: Runs, arms: readonly string[]): string {
  const losses = arms
    .filter((arm) => runs.leakOf(arm) === null)
    .flatMap((arm) => {
      const loss = mean(runs.finished(arm).map((run) => runs.lossOf(run)))
      return loss === null ? [] : [{ arm, loss }]
    })
  const [best] = losses.toSorted((a, b) => a.loss - b.loss)
  if (best === undefined) return 'Every arm sees later tokens.'
  return `The lowest held-out loss of a causal arm is that of ${best.arm}: ${fixed(best.loss, 3)} nats a token.`
}
