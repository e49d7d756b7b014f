/**
 * An evaluation under the other capacity rules as scalars, for TensorBoard and the dashboard: the same names in
 * every run, so that runs with other capacities, or without experts, stand in one chart.
 */
import { type CapacityRule, capacityRules } from '../model/routing/contract.ts'
import type { CapacityEvaluation } from '../step/records.ts'

const names: Readonly<Record<CapacityRule, string>> = {
  train: 'train_capacity',
  eval: 'eval_capacity',
  none: 'dropless',
}
const always = ['loss', 'bits_per_byte'] as const satisfies readonly (keyof CapacityEvaluation)[]
/** Both are 0 without a limit. */
const limited = [...always, 'drop_rate', 'unserved_rate'] as const satisfies readonly (keyof CapacityEvaluation)[]

/**
 * `dropless/loss`, `train_capacity/drop_rate` and so on; nothing of the rule that the record's own fields are of.
 * @param record A line of metrics.jsonl as it was read: of another version it may hold anything.
 */
export function capacityScalars({ capacity, capacities }: Readonly<Record<string, unknown>>): Record<string, number> {
  const scalars: Record<string, number> = {}
  for (const rule of capacityRules) {
    const values = fieldsOf(fieldsOf(capacities)[rule])
    if (rule === capacity) continue
    for (const field of rule === 'none' ? always : limited)
      if (typeof values[field] === 'number') scalars[`${names[rule]}/${field}`] = values[field]
  }
  return scalars
}

const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
