/** Text of an evaluation under the three capacity rules: one line if they hardly differ, otherwise a small table. */
import { type CapacityRule, capacityRules } from '../../../core/model/routing/contract.ts'
import { fixed, percent } from '../../../core/text/numbers.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import type { Colors } from '../io.ts'

/** Smallest difference of losses, in nats a token, that shows in three decimals. */
const VISIBLE = 0.0005

const names: Readonly<Record<CapacityRule, string>> = {
  train: 'training capacity',
  eval: 'evaluation capacity',
  none: 'dropless',
}
const ruleTexts: Readonly<Record<CapacityRule, string>> = {
  train: 'at the training capacity',
  eval: 'at the evaluation capacity',
  none: 'dropless',
}

/** Whether any rule drops a token, or losses differ for another reason (`expert-choice`). */
const capacityMatters = ({ capacities }: EvalRecord): boolean => {
  const { train, eval: evaluation, none } = capacities
  return [train, evaluation].some(({ loss, drop_rate }) => drop_rate > 0 || loss !== none.loss)
}

/** The note after a loss, such as ` (dropless 3.571)`; empty if the two losses do not visibly differ. */
export function droplessNote({ loss, capacities }: EvalRecord): string {
  const { none } = capacities
  return Math.abs(none.loss - loss) > VISIBLE ? ` (dropless ${fixed(none.loss, 3)})` : ''
}

/** Text of the capacity rule that a loss was computed with. */
export const ruleText = (record: EvalRecord): string =>
  capacityMatters(record) ? ruleTexts[record.capacity] : 'at any capacity: nothing is dropped'

/**
 * A table with a line for each rule, and an explanation; empty if nothing depends on the rule.
 * @param room Columns of the terminal.
 */
export function capacityTable(record: EvalRecord, { bold, dim }: Colors, room = Infinity): string {
  if (!capacityMatters(record)) return ''
  // On a narrow terminal the columns are closer; on a very narrow one, a rule is a line of values with their names.
  const gap = ' '.repeat(widthOf(GAP) <= room ? GAP : 1)
  const isTable = widthOf(1) <= room
  const rows = capacityRules.map((rule) => {
    const { loss, bits_per_byte, drop_rate, unserved_rate } = record.capacities[rule]
    const cells = [fixed(loss, 4), fixed(bits_per_byte, 4), percent(drop_rate), percent(unserved_rate)]
    if (!isTable) return [names[rule], ...cells.map((cell, i) => `${columns[i]?.trim()} ${cell}`)].join('   ')
    const line = [names[rule].padEnd(width), ...cells.map((cell, i) => cell.padStart(columns[i]?.length ?? 0))]
    return rule === record.capacity ? bold(line.join(gap)) : line.join(gap)
  })
  const head = dim([''.padEnd(width), ...columns].join(gap))
  return `\n${[...(isTable ? [head] : []), ...rows, ...explanation.map(dim)].map((line) => `  ${line}\n`).join('')}`
}

const GAP = 3
const width = names.eval.length
const columns = ['  loss', 'bits per byte', 'dropped', 'unserved']
const widthOf = (gap: number): number => 2 + width + columns.reduce((sum, title) => sum + gap + title.length, 0)
const explanation = [
  'dropped: assignments that a full expert refused; unserved: tokens that no expert computed.',
  'Dropless: no expert is ever full, so the loss of a text does not depend on the other texts of its batch.',
]
