/** The sweep of learning rates: one row per arm, one column per rate. */

import { dash, fixed, plural } from '../../../../core/text/numbers.ts'
import type { Cell } from '../../../report/blocks.ts'
import type { Section } from '../../../report/report.ts'
import type { Runs } from '../runs.ts'
import { footnotes, shownBlocks, table } from '../tables.ts'

/** The section of learning rates; null without a sweep. */
export function tuningSection(runs: Runs): Section | null {
  const { tuning } = runs.results
  if (tuning.length === 0) return null
  const rates = [...new Set(tuning.flatMap(({ trials }) => trials.map(({ learningRate }) => learningRate)))].sort(
    (a, b) => a - b,
  )
  const budgets = [...new Set(tuning.map(({ budgetSteps }) => budgetSteps))].map((steps) => plural(steps, 'step'))
  const edge = tuning.filter(({ trials, best }) => {
    const tried = trials.map(({ learningRate }) => learningRate)
    return tried.length > 1 && (best === Math.min(...tried) || best === Math.max(...tried))
  })
  return {
    id: 'tuning',
    title: 'Learning rates',
    about: `Every arm was trained for ${budgets.join(' or ')} at each rate. Its best rate is the one with the lowest loss, unless the gain over its configured rate is within the margin. Whole runs with other seeds than those of the study must confirm another rate.`,
    verdicts: [
      edge.length === 0
        ? 'The best rate of every arm lies within the rates that were tried.'
        : `For ${plural(edge.length, 'arm')} of ${tuning.length} the best rate is the lowest or the highest that was tried (*), so a better one may lie beyond.`,
      ...confirmations(runs),
    ],
    blocks: shownBlocks([
      table(
        'rates',
        `Loss by learning rate after these short trainings, nats a token, with the best of each arm marked (*: at an end of the rates tried).${footnotes(
          runs,
          tuning.map(({ arm }) => arm),
        )}`,
        ['Arm', ...rates.map(String)],
        tuning.map((one): Cell[] => [
          runs.label(one.arm),
          ...rates.map((rate): Cell => {
            const trial = one.trials.find(({ learningRate }) => learningRate === rate)
            if (trial === undefined || !Number.isFinite(trial.loss)) return dash
            const text = fixed(trial.loss, 3)
            return rate === one.best
              ? { text: `${text}${edge.includes(one) ? ' *' : ''}`, note: 'best', tone: 'strong' }
              : text
          }),
        ]),
      ),
    ]),
  }
}

/** Sentences about rates other than the configured one: how many whole runs confirmed, and the arms of the others. */
function confirmations({ results: { tuning } }: Runs): string[] {
  const armsWith = (state: boolean | null) => tuning.flatMap(({ arm, confirmed }) => (confirmed === state ? [arm] : []))
  const [confirmed, refuted, open] = [armsWith(true), armsWith(false), armsWith(null)]
  const proposed = confirmed.length + refuted.length + open.length
  if (proposed === 0) return []
  const names = (arms: readonly string[], why: string) =>
    arms.length === 0 ? [] : [`Compared at the configured rate, ${why}: ${arms.join('; ')}.`]
  return [
    `The trials of ${plural(proposed, 'arm')} preferred another rate than the configured one. Whole runs with seeds of their own confirmed it for ${confirmed.length}.`,
    ...names(refuted, 'because whole runs were not better at the other one'),
    ...names(open, 'until whole runs confirm the other one'),
  ]
}
