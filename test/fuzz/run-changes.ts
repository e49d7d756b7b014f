/**
 * Changes of a run directory, as a bad disk, another program, a careless user or a stranger makes them. A change
 * affects one place: a path in the run, where a file or folder may be or not.
 */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Steps from one checkpoint to the next, and between the copies of a run. */
export const STEPS = 2

/** The folders of a case. */
export interface Folders {
  /** The run that is changed. */
  readonly run: string
  /** A folder outside of the run, for the targets of links. */
  readonly outside: string
  /** The same run at an earlier time. */
  readonly older: string
  /** The same run at a later time. */
  readonly newer: string
}

/** @param at Position in a file, from 0 up to 1. */
export type Change = (folders: Folders, place: string, at: number) => void

const garbage = Buffer.from('\u0000garbage\n{"step"')

/** Removes whatever is at a place. @returns Its path, free for something else. */
function cleared({ run }: Folders, place: string): string {
  const path = join(run, place)
  rmSync(path, { recursive: true, force: true })
  mkdirSync(dirname(path), { recursive: true })
  return path
}

/** Copies a place to the folder outside; if nothing is there, writes a file. @returns The path of the copy. */
function copied({ run, outside }: Folders, place: string): string {
  const copy = join(outside, basename(place))
  if (lstatSync(join(run, place), { throwIfNoEntry: false }))
    // Node's own copy refuses a folder in which an earlier change has left a pipe.
    execFileSync('cp', ['-a', join(run, place), copy])
  else writeFileSync(copy, garbage)
  return copy
}

function linked(folders: Folders, place: string, target: string): void {
  symlinkSync(target, cleared(folders, place))
}

/**
 * Replaces a place by the same place of another copy of the run, or by nothing if the copy has no such place.
 * @param steps Steps after a checkpoint at which the other copy's checkpoint for it was written.
 */
function from(other: string, steps: number, folders: Folders, place: string): void {
  const source = place.replace(/\d{8}/, (step) => String(Number(step) + steps).padStart(8, '0'))
  const path = cleared(folders, place)
  if (lstatSync(join(other, source), { throwIfNoEntry: false })) cpSync(join(other, source), path, { recursive: true })
}

function edited({ run }: Folders, place: string, edit: (contents: Buffer) => Uint8Array): void {
  writeFileSync(join(run, place), edit(readFileSync(join(run, place))))
}

const byteAt = (contents: Buffer, at: number) => Math.min(contents.length - 1, Math.floor(at * contents.length))

/** Replaces the line at a place of a log by other lines. */
function editedLine(folders: Folders, place: string, at: number, edit: (line: string) => readonly string[]): void {
  edited(folders, place, (contents) => {
    const lines = contents.toString('latin1').split('\n')
    const index = Math.floor(at * (lines.length - 1))
    lines.splice(index, 1, ...edit(lines[index] ?? ''))
    return Buffer.from(lines.join('\n'), 'latin1')
  })
}

/** Changes of any place: of files, of folders, and of places where nothing is. */
export const replacements: Record<string, Change> = {
  'an empty file': (folders, place) => writeFileSync(cleared(folders, place), ''),
  'a file of garbage': (folders, place) => writeFileSync(cleared(folders, place), garbage),
  'an empty folder': (folders, place) => mkdirSync(cleared(folders, place)),
  'a folder with a file': (folders, place) => {
    const path = cleared(folders, place)
    mkdirSync(path)
    writeFileSync(join(path, 'notes.txt'), garbage)
  },
  'a pipe': (folders, place) => execFileSync('mkfifo', [cleared(folders, place)]),
  'a link to its copy': (folders, place) => linked(folders, place, copied(folders, place)),
  'a link to another file': (folders, place) => linked(folders, place, join(folders.outside, 'other.txt')),
  'a link to an empty folder': (folders, place) => linked(folders, place, join(folders.outside, 'empty')),
  'a link to nothing': (folders, place) => linked(folders, place, join(folders.outside, 'nothing')),
}

/** Changes of places where something is. */
export const copies: Record<string, Change> = {
  nothing: (folders, place) => void cleared(folders, place),
  'its older copy': (folders, place) => from(folders.older, -STEPS, folders, place),
  'its newer copy': (folders, place) => from(folders.newer, STEPS, folders, place),
}

/**
 * Replaces a file by a hard link to its copy outside. A training cannot refuse a hard link by its path. Folders have
 * no hard links.
 */
export const hardLink: Change = (folders, place) => {
  const copy = copied(folders, place)
  linkSync(copy, cleared(folders, place))
}

/** Changes within a file. */
export const damages: Record<string, Change> = {
  truncated: ({ run }, place, at) => {
    const path = join(run, place)
    truncateSync(path, byteAt(readFileSync(path), at))
  },
  'with a flipped bit': (folders, place, at) =>
    edited(folders, place, (contents) => {
      const index = byteAt(contents, at)
      // The later digits of `at` are as good as random, and choose the bit.
      if (index >= 0) contents[index] = (contents[index] ?? 0) ^ (1 << (Math.floor(at * 8191) % 8))
      return contents
    }),
  'with garbage at the end': ({ run }, place) => appendFileSync(join(run, place), garbage),
}

/** Changes of the lines of a log. */
export const lineDamages: Record<string, Change> = {
  'with a line twice': (folders, place, at) => editedLine(folders, place, at, (line) => [line, line]),
  'without a line': (folders, place, at) => editedLine(folders, place, at, () => []),
  'with a damaged line': (folders, place, at) =>
    editedLine(folders, place, at, (line) => [line.slice(0, line.length / 2)]),
  'with a line of another program': (folders, place, at) =>
    editedLine(folders, place, at, (line) => [line, '{"kind":"note"}', '7', 'null']),
}

/** Locks of processes that have ended or cannot be checked, and invalid locks. `HOST` is the name of this machine. */
export const locks: Record<string, string> = {
  'of a dead process': JSON.stringify({ pid: 2 ** 22 + 1, host: 'HOST', since: '2026-01-01T00:00:00.000Z', id: 'a' }),
  'of another host': JSON.stringify({ pid: 1, host: 'elsewhere', since: '2026-01-01T00:00:00.000Z', id: 'a' }),
  'without a process': '{}',
  'of null': 'null',
  'cut off': '{"pid":12',
}
