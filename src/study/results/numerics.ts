/**
 * The numerics of results: raised whenever the same configuration gives other losses than before, as when
 * the model computes otherwise or a default that is part of a result changes. Results of two versions
 * are never compared, and never taken for each other.
 */

/** Changes by the version that brought them; the newest is the program's own. */
const changes: Readonly<Record<number, string>> = {
  2: 'the initial scales of the model, the order in which experts serve tokens, the capacity of evaluations',
  3: 'the initial scale of routers, a head of its own',
}

export const NUMERICS = Math.max(...Object.keys(changes).map(Number))

/** Changes after a version, for people. */
export const changesSince = (version: number): string =>
  Object.entries(changes)
    .filter(([since]) => Number(since) > version)
    .map(([, change]) => change)
    .join('; ')
