/**
 * A rank by rank number, host and process: messages of all parts name it in the same way, so that a reader finds the one
 * that hangs, is slow or was killed.
 */

export interface RankIdentity {
  readonly rank: number
  readonly host: string
  readonly pid: number
}

/** `node7, PID 4711`; without what is unknown. */
export const processName = ({ host, pid }: Partial<RankIdentity>): string =>
  [host ?? '', pid === undefined ? '' : `PID ${pid}`].filter((part) => part !== '').join(', ')

/**
 * `rank 2 (node7, PID 4711)`, or `rank 2 of 4 (node7, PID 4711)`; without host and process if they are unknown, and
 * `a rank` without its number.
 * @param size Number of ranks, to be named too.
 */
export function rankName(identity: Partial<RankIdentity>, size?: number): string {
  const { rank } = identity
  const all = size === undefined ? '' : ` of ${size}`
  const name = rank === undefined ? 'a rank' : `rank ${rank}${all}`
  const process = processName(identity)
  return process === '' ? name : `${name} (${process})`
}
