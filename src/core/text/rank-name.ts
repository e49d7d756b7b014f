/**
 * Names of ranks by rank number, host and process. Every message names a rank in the same way, so that a reader finds
 * the rank that hangs, is slow or was killed.
 */

export interface RankIdentity {
  readonly rank: number
  readonly host: string
  readonly pid: number
}

/** The host and process of a rank, such as `node7, PID 4711`; a part that is unknown is left out. */
export const processName = ({ host, pid }: Partial<RankIdentity>): string =>
  [host ?? '', pid === undefined ? '' : `PID ${pid}`].filter((part) => part !== '').join(', ')

/**
 * The name of a rank, such as `rank 2 (node7, PID 4711)` or `rank 2 of 4 (node7, PID 4711)`. Unknown parts are left
 * out, and a rank of unknown number is `a rank`.
 * @param size Number of ranks, if the name should have it.
 */
export function rankName(identity: Partial<RankIdentity>, size?: number): string {
  const { rank } = identity
  const all = size === undefined ? '' : ` of ${size}`
  const name = rank === undefined ? 'a rank' : `rank ${rank}${all}`
  const process = processName(identity)
  return process === '' ? name : `${name} (${process})`
}
