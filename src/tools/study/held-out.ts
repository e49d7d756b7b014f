/** Selects the losses of one capacity rule from a record, which has the losses of all rules. */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import type { EvalRecord } from '../../train/step/metrics/records.ts'
import type { FinishedRun, RunRecord, StudyResults } from './contract.ts'

/**
 * The capacity rule under which losses of these configurations are compared. The `sinkhorn` router balances loads in
 * training only. In evaluation every token goes to its best experts, as in the code of BASE layers (fairseq,
 * `greedy_assignment`), which has no capacity, and in Megatron-LM, which refuses one. A capacity would
 * drop choices in evaluation that are kept in training, so all configurations are compared without a capacity.
 * @param rule The rule of the study.
 */
export function fairRule(configs: readonly RunConfig[], rule: CapacityRule): CapacityRule {
  const isGreedy = ({ model: { moe } }: RunConfig) => moe?.router === 'sinkhorn' && moe.capacity !== 'none'
  return configs.some(isGreedy) ? 'none' : rule
}

/** Final held-out loss under `rule`, nats a token; null if it is not finite. */
export function heldOutLoss(record: RunRecord | undefined, rule: CapacityRule): number | null {
  if (record?.status !== 'finished') return null
  const { loss } = record.heldOut.capacities[rule]
  // JSON has no NaN, so a loss that was not finite is read as null.
  return Number.isFinite(loss) ? loss : null
}

/** Names of the other texts that finished runs were evaluated on. */
export const otherTextsOf = ({ cells }: StudyResults): string[] => [
  ...new Set(cells.flatMap(({ record }) => (record?.status === 'finished' ? Object.keys(record.elsewhere) : []))),
]

/** A run with all held-out results under `rule`: final, on other text, and during training (only finite losses). */
export function atCapacity(run: FinishedRun, rule: CapacityRule): FinishedRun {
  const under = (record: EvalRecord): EvalRecord => ({ ...record, ...record.capacities[rule], capacity: rule })
  return {
    ...run,
    heldOut: under(run.heldOut),
    elsewhere: Object.fromEntries(Object.entries(run.elsewhere).map(([source, record]) => [source, under(record)])),
    evaluations: run.evaluations
      .map((evaluation) => ({ ...evaluation, loss: evaluation.losses[rule] ?? Number.NaN }))
      .filter(({ loss }) => Number.isFinite(loss)),
  }
}
