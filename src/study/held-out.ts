/** Held-out losses under the capacity rule of a study. */
import type { CapacityRule } from '../model/routing/contract.ts'
import type { RunRecord } from './contract.ts'

/** Nats a token under `rule`; null where it is not finite. */
export function heldOutLoss(record: RunRecord | undefined, rule: CapacityRule): number | null {
  if (record?.status !== 'finished') return null
  const { loss } = record.heldOut.capacities[rule]
  // JSON has no NaN: a loss that was not finite comes back as null.
  return Number.isFinite(loss) ? loss : null
}

/** A record whose evaluations while training have the loss under `rule`, where it is finite: a ledger keeps all of them. */
export function recordUnder(record: RunRecord | undefined, rule: CapacityRule): RunRecord | null {
  if (record?.status !== 'finished') return record ?? null
  return {
    ...record,
    evaluations: record.evaluations
      .map(({ losses, loss, ...at }) => ({ ...at, loss: losses ? losses[rule] : loss, ...(losses && { losses }) }))
      .filter(({ loss }) => Number.isFinite(loss)),
  }
}
