/** Losses of a record under a capacity rule: it holds those of all rules. */
import type { CapacityRule } from '../../model/routing/contract.ts'
import type { EvalRecord } from '../../step/records.ts'
import type { FinishedRun, RunRecord } from '../contract.ts'

/** Held-out loss at the end under `rule`, nats a token; null where it is not finite. */
export function heldOutLoss(record: RunRecord | undefined, rule: CapacityRule): number | null {
  if (record?.status !== 'finished') return null
  const { loss } = record.heldOut.capacities[rule]
  // JSON has no NaN: a loss that was not finite comes back as null.
  return Number.isFinite(loss) ? loss : null
}

/** A run whose every held-out figure is that under `rule`: at the end, on other text, and while training where finite. */
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
