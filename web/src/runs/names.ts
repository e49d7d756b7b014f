/** Names of runs in the narrow column of a table, and what names share. */

/** Characters at the end of a name that stay visible: runs of a sweep have the same beginning and differ at the end. */
const TAIL = 10
/** Longest end that stays visible with the seed and the learning rate of a run of a study, in characters. */
const MAX_STUDY_TAIL = 20

/** A name in two parts, of which the first is cut off where there is no room. */
export function nameParts(name: string): readonly [head: string, tail: string] {
  const seed = name.lastIndexOf(', seed ')
  if (seed > 0 && name.length - seed <= MAX_STUDY_TAIL) return [name.slice(0, seed), name.slice(seed)]
  const characters = [...name]
  const end = Math.max(0, characters.length - TAIL)
  return [characters.slice(0, end).join(''), characters.slice(end).join('')]
}

/** The folders that all names begin with, with their slash; empty for a single run. */
export function sharedFolderOf(names: readonly string[]): string {
  const [first, ...rest] = names
  if (first === undefined || rest.length === 0) return ''
  let length = 0
  for (let slash = first.indexOf('/'); slash >= 0; slash = first.indexOf('/', slash + 1)) {
    if (!rest.every((name) => name.startsWith(first.slice(0, slash + 1)))) break
    length = slash + 1
  }
  return first.slice(0, length)
}

/** What the names of runs of one experiment share, without the seed. A single run keeps its name, unless a study gave it. */
export function sharedName(names: readonly string[]): string {
  const [first = ''] = names
  if (names.length === 1) return first.replace(/, seed \d+(?=,|$)/, '')
  const areShared = (part: (name: string) => string) => names.every((name) => part(name) === part(first))
  let start = 0
  while (start < first.length && areShared((name) => name.slice(0, start + 1))) start++
  let end = 0
  while (start + end < first.length && areShared((name) => name.slice(start).slice(-end - 1))) end++
  const before = first.slice(0, start).replace(/[^\p{L}\p{N})\]]*(?:seed[^\p{L}\p{N}]*\p{N}*|s)?[^\p{L}\p{N}]*$/u, '')
  const [after = ''] = /,.*$/u.exec(first.slice(first.length - end)) ?? []
  return before === '' ? first : before + after
}
