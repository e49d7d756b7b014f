/** The sweep of learning rates: a row an arm, a column a rate. */
import type { Cell } from '../../../report/blocks.ts'
import type { Section } from '../../../report/report.ts'
import { dash, fixed, plural } from '../../../text/numbers.ts'
import type { Runs } from '../runs.ts'
import { footnotes, present, table } from '../tables.ts'

/** Null where there was none. */
export function tuningSection(runs: Runs): Section | null {
  const { tuning } = runs.results
  if (tuning.length === 0) return null
  const rates = [...new Set(tuning.flatMap(({ trials }) => trials.map(({ learningRate }) => learningRate)))].sort(
    (a, b) => a - b,
  )
  const budgets = [...new Set(tuning.map(({ budgetSteps }) => budgetSteps))].map((steps) => plural(steps, 'step'))
  const edge = tuning.filter(({ trials, best }) => {
    const own = trials.map(({ learningRate }) => learningRate)
    return own.length > 1 && (best === Math.min(...own) || best === Math.max(...own))
  })
  return {
    id: 'tuning',
    title: 'Learning rates',
    about: `Every arm was trained for ${budgets.join(' or ')} at each rate; its best rate is the one with the lowest loss.`,
    verdicts: [
      edge.length === 0
        ? 'The best rate of every arm lies within the rates that were tried.'
        : `For ${plural(edge.length, 'arm')} of ${tuning.length} the best rate is the lowest or the highest that was tried (*), so a better one may lie beyond.`,
    ],
    blocks: present([
      table(
        `Loss after the sweep by learning rate, nats a token; the best of each arm is marked (* at an end of the rates tried).${footnotes(
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
              ? { text: `${text}${edge.includes(one) ? ' *' : ''}`, note: 'best', tone: 'for' }
              : text
          }),
        ]),
      ),
    ]),
  }
}
