/** An evaluation under the capacity rules, for people: in a line where they hardly differ, else as a small table. */
import { type CapacityRule, capacityRules } from '../../model/routing/contract.ts'
import type { EvalRecord } from '../../step/records.ts'
import { fixed, percent } from '../../text/numbers.ts'
import type { Colors } from '../io.ts'

/** Nats a token; less than this is not shown in three digits. */
const VISIBLE = 0.0005

const names: Readonly<Record<CapacityRule, string>> = {
  train: 'training capacity',
  eval: 'evaluation capacity',
  none: 'dropless',
}
const holds: Readonly<Record<CapacityRule, string>> = {
  train: 'at the training capacity',
  eval: 'at the evaluation capacity',
  none: 'dropless',
}

/** Whether any expert refused a token under some rule, or losses differ for another reason (`expert-choice`). */
const differ = ({ capacities }: EvalRecord): boolean => {
  const { train, eval: evaluated, none } = capacities
  return [train, evaluated].some(({ loss, drop_rate }) => drop_rate > 0 || loss !== none.loss)
}

/** To stand beside a loss: ` (dropless 3.571)`, or nothing where the two are not visibly apart. */
export function droplessBeside({ loss, capacities }: EvalRecord): string {
  const { none } = capacities
  return Math.abs(none.loss - loss) > VISIBLE ? ` (dropless ${fixed(none.loss, 3)})` : ''
}

/** Under which rule a loss is. */
export const ruleText = (record: EvalRecord): string =>
  differ(record) ? holds[record.capacity] : 'at any capacity: nothing is dropped'

/** A line for each rule and one that explains; empty where nothing depends on the rule. */
export function capacityTable(record: EvalRecord, { bold, dim }: Colors): string {
  if (!differ(record)) return ''
  const rows = capacityRules.map((rule) => {
    const { loss, bits_per_byte, drop_rate, unserved_rate } = record.capacities[rule]
    const cells = [fixed(loss, 4), fixed(bits_per_byte, 4), percent(drop_rate), percent(unserved_rate)]
    const line = [names[rule].padEnd(width), ...cells.map((cell, i) => cell.padStart(columns[i]?.length ?? 0))]
    return rule === record.capacity ? bold(line.join(gap)) : line.join(gap)
  })
  const head = dim([''.padEnd(width), ...columns].join(gap))
  return `\n${[head, ...rows, ...explanation.map(dim)].map((line) => `  ${line}\n`).join('')}`
}

const gap = '   '
const width = names.eval.length
const columns = ['  loss', 'bits per byte', 'dropped', 'unserved']
const explanation = [
  'dropped: assignments that a full expert refused; unserved: tokens that no expert computed.',
  'Dropless, no expert is full: the loss of a text does not depend on the texts in its batch.',
]
