/** The configurations of a search with their losses by rung, in the order of their success. */
import type { SearchResults, StudyResults } from '../../contract.ts'
import type { Settings } from '../../specification.ts'

export interface Tried {
  /** Its place among all configurations, from 1. */
  readonly rank: number
  readonly arm: string
  readonly settings: Settings
  /** Rungs that it finished with a finite loss, by rising steps; never empty. */
  readonly losses: readonly { readonly steps: number; readonly loss: number }[]
  /** Steps and loss of the last of these rungs. */
  readonly steps: number
  readonly loss: number
}

/** The configurations that finished a rung, the longest trained first, then by loss. */
export function triedOf({ arms }: StudyResults, { rungs }: SearchResults): Tried[] {
  const found = Object.entries(arms).flatMap(([arm, settings]) => {
    const losses = rungs.flatMap(({ steps, entries }) => {
      const loss = entries.find((entry) => entry.arm === arm)?.loss
      return typeof loss === 'number' ? [{ steps, loss }] : []
    })
    const last = losses.at(-1)
    return last ? [{ arm, settings, losses, ...last }] : []
  })
  return found
    .toSorted((a, b) => b.steps - a.steps || a.loss - b.loss)
    .map((one, i): Tried => ({ ...one, rank: i + 1 }))
}
