/**
 * The version of the numerics. Raise it whenever the same configuration gives other losses than before, for
 * example after a change of the computation or of a default that decides results. Results of different
 * versions are never compared or mixed.
 */

/** The changes of each version; the newest version is the version of this program. */
const changes: Readonly<Record<number, string>> = {
  2: 'the initial scales of the model, the order in which experts serve tokens, the capacity of evaluations',
  3: 'the initial scale of routers, an output head that is not tied to the embedding',
  4: 'the windows that a held-out batch is made of, the tables of hash routing with two experts or more',
}

export const NUMERICS = Math.max(...Object.keys(changes).map(Number))

/** Changes after a version, for a message. */
export const changesSince = (version: number): string =>
  Object.entries(changes)
    .filter(([since]) => Number(since) > version)
    .map(([, change]) => change)
    .join('; ')
