/** Where the first weights of a run came from, if another run trained them. */
import type { Difference } from '../../core/config/differences.ts'
import { type Fields, isFields } from '../../core/config/fields.ts'

/**
 * Where the first weights of a run came from, as stored in `from` of config.json. With `fork`, the whole state came
 * from there.
 */
export interface Origin {
  /** Absolute path of the other run. */
  readonly run: string
  /** Step of the checkpoint of the other run. */
  readonly step: number
  /** `weightsHash` of the checkpoint. */
  readonly weights: string
  /** Set if the run forked: optimizer state, step and place in the text come from the checkpoint too. */
  readonly fork?: true
  /** Settings of the other run, and of the new one when it began. */
  readonly differences: readonly Difference[]
}

/** `from` in the contents of config.json; null if the run began with initial weights. */
export function originIn(stored: Fields): Origin | null {
  const { from } = stored
  if (!isFields(from)) return null
  const { run, step, weights, fork, differences } = from
  if (typeof run !== 'string' || typeof step !== 'number' || typeof weights !== 'string') return null
  return {
    run,
    step,
    weights,
    ...(fork === true && { fork }),
    differences: Array.isArray(differences) ? (differences as Difference[]) : [],
  }
}
