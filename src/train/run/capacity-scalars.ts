/**
 * Scalars of an evaluation under its other capacity rules, for TensorBoard and the dashboard. Names are the same in
 * every run, so that runs with different capacities, or without experts, share a chart.
 */
import { type CapacityRule, capacityRules } from '../../core/model/routing/contract.ts'
import type { CapacityEvaluation } from '../step/metrics/records.ts'

const names: Readonly<Record<CapacityRule, string>> = {
  train: 'train_capacity',
  eval: 'eval_capacity',
  none: 'dropless',
}
const droplessFields = ['loss', 'bits_per_byte'] as const satisfies readonly (keyof CapacityEvaluation)[]
/** Fields of a rule with a limit; without a limit both rates are 0. */
const limitedFields = [...droplessFields, 'drop_rate', 'unserved_rate'] as const

/**
 * `dropless/loss`, `train_capacity/drop_rate` and so on, except for the rule of the record's own fields.
 * @param record An unchecked line of metrics.jsonl; a line of another version may contain anything.
 */
export function capacityScalars({ capacity, capacities }: Readonly<Record<string, unknown>>): Record<string, number> {
  const scalars: Record<string, number> = {}
  for (const rule of capacityRules) {
    const values = fieldsOf(fieldsOf(capacities)[rule])
    if (rule === capacity) continue
    for (const field of rule === 'none' ? droplessFields : limitedFields)
      if (typeof values[field] === 'number') scalars[`${names[rule]}/${field}`] = values[field]
  }
  return scalars
}

const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
