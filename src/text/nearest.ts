import { distance } from 'fastest-levenshtein'

/**
 * The accepted name nearest to a misspelt one; undefined if none has a Levenshtein distance of at most
 * max(2, a third of the length). Case is ignored.
 */
export function nearestName(name: string, accepted: Iterable<string>): string | undefined {
  const limit = Math.max(2, Math.floor(name.length / 3))
  const distanceTo = (candidate: string) => distance(name.toLowerCase(), candidate.toLowerCase())
  return [...accepted]
    .filter((candidate) => distanceTo(candidate) <= limit)
    .toSorted((a, b) => distanceTo(a) - distanceTo(b))[0]
}
