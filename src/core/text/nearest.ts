import { distance } from 'fastest-levenshtein'

/**
 * The accepted name nearest to a misspelt one; undefined if no name has a Levenshtein distance of at most
 * max(2, a third of the length). Case is ignored.
 */
export function nearestName(name: string, accepted: Iterable<string>): string | undefined {
  const limit = Math.max(2, Math.floor(name.length / 3))
  const wanted = name.toLowerCase()
  let nearest: string | undefined
  let least = limit + 1
  for (const candidate of accepted) {
    // The distance is at least the difference of the lengths, which needs no look at the characters.
    if (Math.abs(candidate.length - name.length) >= least) continue
    const apart = distance(wanted, candidate.toLowerCase())
    if (apart < least) [nearest, least] = [candidate, apart]
  }
  return nearest
}
