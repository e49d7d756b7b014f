/** The results at the end of a training. */
import { isOfDenseModel } from '../../../core/model/routing/statistics.ts'
import { count, duration, fixed, grouped, listed, percent } from '../../../core/text/numbers.ts'
import { quoted } from '../../../core/text/shell.ts'
import type { TrainSummary } from '../../../train/loop/events.ts'
import type { Colors } from '../io.ts'
import { droplessNote } from './capacities.ts'
import { labelled } from './display.ts'
import { lowerBoundNote, ranksRows } from './summary.ts'

export function summaryText(summary: TrainSummary, colors: Colors): string {
  const { evaluation, last } = summary
  const rows: [string, string][] = []
  if (evaluation)
    rows.push(
      ['held-out loss', `${colors.bold(fixed(evaluation.loss, 3))} nats a token${droplessNote(evaluation)}`],
      ['bits per byte', colors.bold(fixed(evaluation.bits_per_byte, 3))],
    )
  else if (last) rows.push(['training loss', `${fixed(last.loss, 3)} nats a token`])
  const note = last && summary.ceiling && lowerBoundNote(summary.ceiling)
  if (summary.tokensPerSecond !== null)
    rows.push([
      'speed',
      `${count(summary.tokensPerSecond)} tokens/s, MFU ${note ? 'at most ' : ''}${percent(summary.mfu, 0)}`,
    ])
  if (note) rows.push(['matmul ceiling', note])
  if (summary.ranks) rows.push(...ranksRows(summary.ranks))
  if (last && !isOfDenseModel({ ...last }))
    rows.push(['drop rate', percent(last.drop_rate)], ['c_v', fixed(last.load_cv, 2)])
  rows.push(...gateRows(summary))
  const reached = `${grouped(summary.step)}, ${count(summary.tokens)} tokens in all`
  rows.push(
    last || summary.interrupted
      ? ['time', `${duration(summary.seconds)}, to step ${reached}`]
      : [
          'steps',
          `none is left to step ${reached}: for more, choir train --resume ${quoted(summary.directory)} --steps N`,
        ],
    ['run', summary.directory],
  )
  return `\n${labelled(rows, colors)}`
}

/** A router with at least this share of the largest entropy hardly prefers any expert. */
const UNDECIDED = 0.9

/**
 * Rows of gates and entropies by layer in the last step, and advice if no router has decided; none for a dense model.
 */
function gateRows({ gates, interrupted }: TrainSummary): [string, string][] {
  if (gates.length === 0) return []
  const rows: [string, string][] = [['gate', `${listed(gates.map(({ gateMean }) => gateMean))} by layer`]]
  const shares = gates.flatMap(({ entropyShare }) => entropyShare ?? [])
  if (shares.length === 0) return rows
  rows.push(['entropy', `${listed(gates.map(({ entropyShare }) => entropyShare))} of the largest, by layer`])
  if (!interrupted && shares.every((share) => share >= UNDECIDED))
    rows.push([
      'routers',
      'hardly prefer any expert yet in any layer: train for longer, or compare with model.moe.router=hash',
    ])
  return rows
}
