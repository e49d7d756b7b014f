/**
 * The held-out loss that verdicts are about, by the rule of reports: at the capacity of training, because an arm is
 * judged like it is trained; without a capacity if an arm has the router `sinkhorn`, which balances in training only.
 * Without a capacity in any arm all of these are one loss.
 */
import type { Arm } from './arms.ts'

const HELD_OUT = 'eval/loss'

/** @param metrics Metrics of the shown runs. Runs of earlier versions have fewer. */
export function verdictMetric(arms: readonly Arm[], metrics: ReadonlySet<string>): string {
  const limited = arms
    .map(({ runs }) => runs[0]?.config ?? {})
    .filter((config) => (config['model.moe.capacity'] ?? 'none') !== 'none')
  if (limited.length === 0) return HELD_OUT
  const isGreedy = limited.some((config) => config['model.moe.router'] === 'sinkhorn')
  const wanted = isGreedy ? 'eval/dropless/loss' : 'eval/train_capacity/loss'
  return metrics.has(wanted) ? wanted : HELD_OUT
}
