/**
 * Finds the files that a glob matches, such as `books/a?.txt`. Each folder is searched once, with the set of all places
 * in the pattern that the folder may correspond to. So the time grows with the number of files and the length of the
 * pattern, however many wildcards it has.
 *
 * In a name, `*` stands for any characters, `?` for one, `[a-z]` for one of a set and `[!a-z]` for one outside the set;
 * `**` as a name stands for any number of folders, `{a,b}` for alternatives, and `\` makes the next character ordinary.
 * Names that begin with a dot are matched only by a pattern that begins with a dot. Links are followed.
 */

import { readdir, realpath, stat } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import { UsageError } from '../../../core/errors.ts'
import { Turns } from '../../../core/next-turn.ts'
import { ANY, matchesParts, type PatternPart } from '../../../core/text/wildcard.ts'

/** Most characters of a pattern, and of all patterns that it stands for when `{a,b}` is written out. */
const MAX_LENGTH = 1024
const MAX_WRITTEN_OUT = 128 * MAX_LENGTH

/** A name in a pattern: a plain name, `ANY` for any number of folders, or the parts of a name with wildcards. */
type Segment = string | typeof ANY | readonly PatternPart[]

/** A place in a pattern: the segments that are still to be matched. */
interface Place {
  readonly segments: readonly Segment[]
  readonly at: number
}

/** Whether a text has characters with a meaning in a glob. */
export const isGlob = (text: string): boolean => /[*?[\]{}]/.test(text)

/**
 * Returns absolute paths of the files, in no particular order. Files and folders that cannot be read are left out.
 * @param pattern Pattern relative to the current folder, or absolute.
 * @throws UsageError if the pattern is too long or stands for too many patterns
 */
export async function filesOfGlob(pattern: string, signal?: AbortSignal): Promise<string[]> {
  if (pattern.length > MAX_LENGTH)
    throw new UsageError(
      `invalid data.source: a pattern of ${pattern.length} characters (expected at most ${MAX_LENGTH}, or give a folder)`,
    )
  const found = new Set<string>()
  // A pattern that ends with a slash matches folders only.
  const ofFiles = alternatives(pattern).filter((alternative) => !alternative.endsWith('/'))
  const starts = ofFiles.map((alternative) => {
    // A `..` is removed with the name before it. Otherwise each pair of `*` and `..` would search the folders again.
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

/** @param around Real paths of the folder and of the folders around it. */
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
  // A folder is listed only for wildcards, because it may not permit to be listed.
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
  // A link to a folder around it makes a loop. Only `**` could follow it for ever: every other segment is used up.
  const isLoop = real !== undefined && around.includes(real)
  const steps = isLoop ? further.filter(({ segments, at }) => segments[at] !== ANY) : further
  if (real !== undefined && steps.length > 0) await search(path, steps, [...around, real], to)
}

/** The given places and the places after each `**`, which may stand for no folder at all. Each place is listed once. */
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

/** The places that follow a place when its segment is matched with `name`; empty if the segment does not match. */
function afterName({ segments, at }: Place, name: string): Place[] {
  const segment = segments[at]
  const isHidden = name.startsWith('.')
  if (segment === ANY) {
    if (isHidden) return []
    // A `**` at the end of a pattern stands for files too.
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

/** The set in brackets that begins at `start`. Undefined if no bracket closes it: then `[` is an ordinary character. */
function setAt(text: string, start: number): { test: (character: string) => boolean; end: number } | undefined {
  const isNegated = text[start + 1] === '!' || text[start + 1] === '^'
  const first = start + (isNegated ? 2 : 1)
  // A closing bracket that comes first belongs to the set.
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

/** The first group of alternatives: braces with a comma in between. Braces without a comma are ordinary characters. */
function firstGroup(text: string): Group | undefined {
  /** Positions of the open braces, each followed by the positions of its commas. */
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
