/** Selects the losses of one capacity rule from a record, which has those of all rules. */
import type { CapacityRule } from '../../model/routing/contract.ts'
import type { EvalRecord } from '../../step/records.ts'
import type { FinishedRun, RunRecord, StudyResults } from '../contract.ts'

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

/** A run with all held-out results under `rule`: final, on other text, and during training (only finite ones). */
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
