/**
 * Finds the files that a glob matches, such as `books/a?.txt`. The folders are searched once, with the set of all
 * places of the pattern that a folder may be at. So time grows with files and pattern, however many wildcards it has.
 *
 * In a name, `*` stands for any characters, `?` for one, `[a-z]` for one of a set and `[!a-z]` for one that is not in it;
 * `**` as a name stands for any number of folders, `{a,b}` for alternatives, and `\` makes the next character ordinary.
 * Names that begin with a dot are matched only by a pattern that begins with a dot. Links are followed.
 */

import { readdir, realpath, stat } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import { UsageError } from '../../../core/errors.ts'
import { Turns } from '../../../core/next-turn.ts'
import { ANY, matchesParts, type PatternPart } from '../../../core/text/wildcard.ts'

/** Characters of a pattern, and of all patterns that it stands for when `{a,b}` is written out. */
const MAX_LENGTH = 1024
const MAX_WRITTEN_OUT = 128 * MAX_LENGTH

/** A name in a pattern: as it is, any number of folders, or with wildcards. */
type Segment = string | typeof ANY | readonly PatternPart[]

/** A place in a pattern: the segments that are still to be matched. */
interface Place {
  readonly segments: readonly Segment[]
  readonly at: number
}

/** Whether a text has characters with a meaning in a glob. */
export const isGlob = (text: string): boolean => /[*?[\]{}]/.test(text)

/**
 * Absolute paths of the files, in no particular order. What cannot be read is left out.
 * @param pattern Relative to the current folder, or absolute.
 * @throws UsageError if the pattern is too long
 */
export async function filesOfGlob(pattern: string, signal?: AbortSignal): Promise<string[]> {
  if (pattern.length > MAX_LENGTH)
    throw new UsageError(
      `invalid data.source: a pattern of ${pattern.length} characters (expected at most ${MAX_LENGTH}, or give a folder)`,
    )
  const found = new Set<string>()
  // With a slash at its end a pattern stands for folders alone.
  const ofFiles = alternatives(pattern).filter((alternative) => !alternative.endsWith('/'))
  const starts = ofFiles.map((alternative) => {
    // A `..` takes the name before it away. Else each pair of `*` and `..` would search the folders once more.
    const [first = '', ...rest] = posix.normalize(alternative).split('/')
    const isAbsolute = first === '' || /^[a-zA-Z]:$/.test(first)
    const segments = (isAbsolute ? rest : [first, ...rest]).filter((name) => name !== '' && name !== '.').map(segmentOf)
    return { root: isAbsolute ? resolve(`${first}/`) : resolve('.'), place: { segments, at: 0 } }
  })
  for (const root of new Set(starts.map((start) => start.root))) {
    const places = starts.filter((start) => start.root === root).map(({ place }) => place)
    await search(root, places, [await realpath(root)], { found, signal })
  }
  return [...found]
}

interface Search {
  readonly found: Set<string>
  readonly signal: AbortSignal | undefined
}

/** @param around Real paths of the folder and of those around it. */
async function search(folder: string, given: readonly Place[], around: readonly string[], to: Search): Promise<void> {
  to.signal?.throwIfAborted()
  const places = withoutFolders(given)
  const names = new Map<string, Place[]>()
  const add = (name: string, place: Place): void => {
    names.set(name, [...(names.get(name) ?? []), place])
  }
  for (const { segments, at } of places)
    if (typeof segments[at] === 'string') add(segments[at], { segments, at: at + 1 })
  const open = places.filter(({ segments, at }) => typeof segments[at] !== 'string')
  // Without wildcards a folder need not be listed, which it may not permit.
  const turns = new Turns(to.signal)
  for (const name of open.length > 0 ? await readdir(folder).catch((): string[] => []) : []) {
    for (const next of open.flatMap((place) => afterName(place, name))) add(name, next)
    if (turns.isDue) await turns.take()
  }
  for (const [name, next] of names) await visit(join(folder, name), next, around, to)
}

async function visit(path: string, places: readonly Place[], around: readonly string[], to: Search): Promise<void> {
  const target = await stat(path).catch(() => undefined)
  if (target?.isFile() && places.some(isEnd)) to.found.add(path)
  if (!target?.isDirectory()) return
  const further = places.filter((place) => place.at < place.segments.length)
  if (further.length === 0) return
  const real = await realpath(path).catch(() => undefined)
  // A link to a folder around it. Each step of a pattern without `**` makes it shorter, so such a pattern ends.
  const isLoop = real !== undefined && around.includes(real)
  const steps = isLoop ? further.filter(({ segments, at }) => segments[at] !== ANY) : further
  if (real !== undefined && steps.length > 0) await search(path, steps, [...around, real], to)
}

/** Places with those after `**`, which may stand for no folder. Each is there once. */
function withoutFolders(given: readonly Place[]): Place[] {
  const places: Place[] = []
  const known = new Map<readonly Segment[], Set<number>>()
  for (const { segments, at: first } of given)
    for (let at = first; at < segments.length; at++) {
      const seen = known.get(segments) ?? new Set()
      known.set(segments, seen)
      if (!seen.has(at)) places.push({ segments, at })
      seen.add(at)
      if (segments[at] !== ANY) break
    }
  return places
}

/** Where a place is after a name. */
function afterName({ segments, at }: Place, name: string): Place[] {
  const segment = segments[at]
  const isHidden = name.startsWith('.')
  if (segment === ANY) {
    if (isHidden) return []
    // At the end it stands for files too.
    return at + 1 === segments.length
      ? [
          { segments, at },
          { segments, at: at + 1 },
        ]
      : [{ segments, at }]
  }
  if (segment === undefined || typeof segment === 'string' || (isHidden && segment[0] !== '.')) return []
  return matchesParts(segment, [...name]) ? [{ segments, at: at + 1 }] : []
}

const isEnd = ({ segments, at }: Place): boolean => at === segments.length

function segmentOf(text: string): Segment {
  if (text === '**') return ANY
  const parts: PatternPart[] = []
  for (let i = 0; i < text.length; ) {
    const character = String.fromCodePoint(text.codePointAt(i) as number)
    const set = character === '[' ? setAt(text, i) : undefined
    if (character === '\\' && i + 1 < text.length) {
      const next = String.fromCodePoint(text.codePointAt(i + 1) as number)
      parts.push(next)
      i += 1 + next.length
    } else if (set) {
      parts.push(set.test)
      i = set.end
    } else {
      parts.push(character === '*' ? ANY : character === '?' ? () => true : character)
      i += character.length
    }
  }
  return parts.every((part) => typeof part === 'string') ? parts.join('') : parts
}

/** The set in brackets that begins at `start`; undefined if it has no end, and the bracket is an ordinary character. */
function setAt(text: string, start: number): { test: (character: string) => boolean; end: number } | undefined {
  const isNegated = text[start + 1] === '!' || text[start + 1] === '^'
  const first = start + (isNegated ? 2 : 1)
  // A bracket that comes first is one of the set.
  const last = text.indexOf(']', first + 1)
  if (last < 0) return undefined
  const characters = [...text.slice(first, last)]
  const single = new Set<string>()
  const ranges: (readonly [string, string])[] = []
  for (let i = 0; i < characters.length; i++) {
    const [from = '', dash, to] = characters.slice(i, i + 3)
    if (dash === '-' && to !== undefined) {
      ranges.push([from, to])
      i += 2
    } else single.add(from)
  }
  const code = (character: string): number => character.codePointAt(0) as number
  const isIn = (character: string): boolean =>
    single.has(character) || ranges.some(([from, to]) => code(from) <= code(character) && code(character) <= code(to))
  return { test: (character) => isIn(character) !== isNegated, end: last + 1 }
}

/** The patterns without `{a,b}` that a pattern stands for. @throws UsageError if there are too many */
function alternatives(pattern: string): string[] {
  const done: string[] = []
  const open = [pattern]
  let characters = 0
  for (let text = open.pop(); text !== undefined; text = open.pop()) {
    const group = firstGroup(text)
    if (!group) done.push(text)
    else for (const option of group.options) open.push(group.before + option + group.after)
    characters += text.length
    if (characters > MAX_WRITTEN_OUT)
      throw new UsageError(
        `invalid data.source: ${pattern.slice(0, 60)} has too many alternatives (give a folder, or several sources)`,
      )
  }
  return [...new Set(done)]
}

interface Group {
  readonly before: string
  readonly options: readonly string[]
  readonly after: string
}

/** The first group of alternatives: braces with a comma between them. Braces without one are ordinary characters. */
function firstGroup(text: string): Group | undefined {
  /** Where open braces are, and their commas. */
  const open: number[][] = []
  let first: { readonly start: number; readonly end: number; readonly commas: readonly number[] } | undefined
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++
    else if (text[i] === '{') open.push([i])
    else if (text[i] === ',') open.at(-1)?.push(i)
    else if (text[i] === '}') {
      const [start, ...commas] = open.pop() ?? []
      if (start !== undefined && commas.length > 0 && (!first || start < first.start)) first = { start, end: i, commas }
    }
  }
  if (!first) return undefined
  const cuts = [first.start, ...first.commas, first.end]
  const options = cuts.slice(1).map((cut, i) => text.slice((cuts[i] as number) + 1, cut))
  return { before: text.slice(0, first.start), options, after: text.slice(first.end + 1) }
}
