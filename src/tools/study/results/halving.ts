/**
 * Successive halving. The state of a search is a function of the existing records: which rungs are complete, and which
 * configurations go on to the next rung. So a search that was stopped continues with the same choices, and every
 * process that works on it makes the same choices.
 */
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import type { Cell, SearchRung } from '../contract.ts'
import { rungCell } from '../grid/cells.ts'
import type { Candidate, SearchPlan } from '../grid/search.ts'
import { heldOutLoss } from '../held-out.ts'
import type { Ledger } from './ledger.ts'

export interface RungState extends SearchRung {
  /** The cell of each entry. */
  readonly cells: readonly Cell[]
}

/** The known rungs: up to the first rung that is not complete, or that no configuration has finished. */
export function rungStatesOf(plan: SearchPlan, ledger: Ledger, rule: CapacityRule): RungState[] {
  const states: RungState[] = []
  let going: readonly Candidate[] = plan.candidates
  let from = 0
  for (const { steps, configurations } of plan.rungs) {
    const cells = going.map(({ name, config }) => rungCell(name, plan.seed, config, steps, from))
    const losses = cells.map(({ key, config }) => {
      const record = ledger.find(key, config)
      return record === undefined ? undefined : heldOutLoss(record, rule)
    })
    states.push({ steps, configurations, cells, entries: going.map(({ name }, i) => ({ arm: name, loss: losses[i] })) })
    const next = plan.rungs[states.length]
    if (next === undefined || losses.includes(undefined)) break
    going = bestOf(going, losses, next.configurations)
    if (going.length === 0) break
    from = steps
  }
  return states
}

/** Candidates with the lowest losses; of equal losses, the earlier drawn. Losses that are not finite never count. */
function bestOf(
  candidates: readonly Candidate[],
  losses: readonly (number | null | undefined)[],
  count: number,
): Candidate[] {
  return candidates
    .flatMap((candidate, i) => {
      const loss = losses[i]
      return typeof loss === 'number' ? [{ candidate, loss }] : []
    })
    .toSorted((a, b) => a.loss - b.loss)
    .slice(0, count)
    .map(({ candidate }) => candidate)
}

/**
 * Trainings of the rungs that are not known yet, for estimates of their time: an even choice of all configurations.
 * @param known Number of rungs that are known.
 */
export const laterRungs = ({ candidates, rungs, seed }: SearchPlan, known: number): Cell[][] =>
  rungs.slice(known).map(({ steps, configurations }, i) => {
    const from = rungs[known + i - 1]?.steps ?? 0
    return Array.from({ length: configurations }, (_, n) => {
      const { name, config } = candidates[Math.floor((n * candidates.length) / configurations)] as Candidate
      return rungCell(name, seed, config, steps, from)
    })
  })

/** The rungs as they are reported; a rung that is still unknown has no entries. */
export const searchRungs = (plan: SearchPlan, states: readonly RungState[]): SearchRung[] =>
  plan.rungs.map(({ steps, configurations }, i) => ({ steps, configurations, entries: states[i]?.entries ?? [] }))
