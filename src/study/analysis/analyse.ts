/**
 * From the results of a study to its report. A question becomes a section by its view; the first verdict
 * of a section is its answer, and the summary at the top repeats these answers and nothing else. The
 * analysis never fails for want of runs: what is not there yet is said to be missing.
 */
import type { Report, Section } from '../../report/index.ts'
import type { Contrast, Question, StudyResults, View } from '../contract.ts'
import { capacity } from './capacity.ts'
import { convergence } from './convergence.ts'
import { elsewhereSection } from './elsewhere.ts'
import { factsOf, missingSection } from './facts.ts'
import { imbalance } from './imbalance.ts'
import { attention, type Findings, plain } from './plain.ts'
import { prototypes } from './prototypes.ts'
import { Runs } from './runs.ts'
import { scale } from './scale.ts'
import { specialisationSection } from './specialisation.ts'

const analyses: Readonly<Record<View, (runs: Runs, question: Question) => Findings>> = {
  plain,
  imbalance,
  capacity,
  prototypes,
  attention,
  scale,
  convergence,
}

export function analyse(results: StudyResults): Report {
  const runs = new Runs(results)
  const questions = results.questions.map((question): Section => {
    const { id, title, about } = question
    const { verdicts, blocks } = analyses[question.view](runs, { ...question, contrasts: distinct(question.contrasts) })
    return { id, title, about, verdicts: verdicts.map(begun), blocks }
  })
  const others = [specialisationSection(runs), elsewhereSection(runs)].filter((section) => section !== null)
  const missing = missingSection(results)
  return {
    title: results.title,
    facts: factsOf(runs),
    command: results.command,
    sections: [...summary(questions), ...questions, ...others, ...(missing ? [missing] : [])],
  }
}

/** Each once: a contrast that is listed twice is no more evidence for that. */
const distinct = (contrasts: readonly Contrast[]): Contrast[] =>
  contrasts.filter(
    ({ baseline, arm }, i) => contrasts.findIndex((other) => other.baseline === baseline && other.arm === arm) === i,
  )

/** Claims are written to stand within a sentence; names of arms keep their case. */
const begun = (sentence: string): string => sentence.replace(/^no difference/, 'No difference')

function summary(questions: readonly Section[]): Section[] {
  if (questions.length === 0) return []
  return [
    {
      id: 'summary',
      title: 'Summary',
      about: 'One answer a question. Differences are paired by seed; an interval is 95 %, by Student’s t over seeds.',
      verdicts: questions.map(({ title, verdicts }) => `${title}: ${verdicts[0] ?? 'nothing to say yet.'}`),
      blocks: [],
    },
  ]
}
