/**
 * results.json.gz: the format of a study's results, as gzip of JSON. It has a fifth of the size of the JSON, any
 * language reads it, and a study that adds records does not change the bytes before them, so versions of the file share
 * most of their bytes.
 *
 * Every entry has a checksum. When an entry is read, its checksum is checked (`checksum.ts`), and then the type of
 * every field (`record-schema.ts`): an entry that was changed by hand or damaged is refused with its place, not
 * reported.
 *
 * Earlier programs wrote the same JSON to results.json, which is read too. Both files exist, for example, after a
 * process was killed while it replaced results.json by results.json.gz; then the results of both count.
 */
import { constants } from 'node:buffer'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { option, RunError, UsageError, type Wording, wording } from '../../../core/errors.ts'
import { errorCode, replaceFile } from '../../../node/system/disk.ts'
import type { Match, PilotResult, Registration, RunRecord, Specialisation, Tuning } from '../contract.ts'
import { currentKeyOf } from '../grid/keys.ts'
import { changesSince, NUMERICS } from '../grid/numerics.ts'
import type { KeyedTiming } from './cell-files.ts'
import { checked, withChecksum } from './checksum.ts'
import { problemIn } from './record-schema.ts'

/** Format 1 had no version of the numerics. Format 2, which is read too, had no checksums. */
const FORMAT = 3
const FIRST_WITH_CHECKSUMS = 3

export const RESULTS_FILE = 'results.json.gz'
const UNCOMPRESSED_FILE = 'results.json'

/** Largest size of the JSON in bytes. Without a limit, a gzip file of a few kilobytes could fill the memory. */
const LIMIT = constants.MAX_STRING_LENGTH

/** A specialisation with the key of its run, like {@link KeyedTiming}. */
export type KeyedSpecialisation = Specialisation & { readonly key: string }

export interface Contents {
  readonly format: number
  name: string
  /** All machines that did runs. */
  machines: string[]
  /** Runs and, under their own keys, trials of sweeps. */
  records: RunRecord[]
  /** Fields of arms that were solved for; stored for people and notebooks, as sweeps and pilot are. */
  matches: readonly Match[]
  /** Computed from the records. */
  tuning: readonly Tuning[]
  pilot: PilotResult | null
  timings: KeyedTiming[]
  specialisations: KeyedSpecialisation[]
  /** Predictions as they were registered, in order. */
  registrations: Registration[]
}

/**
 * Reads the results in a folder, or starts empty.
 * @param use To continue a study, all records need the numerics of this program. A report may be about older numerics.
 * @throws RunError if a file cannot be read: it may contain hours of work
 * @throws UsageError if records have another version of the numerics, or for a report several versions
 */
export async function readResults(directory: string, use: 'continue' | 'report'): Promise<Contents> {
  // The uncompressed file is read first. It is removed only when the other file has its results, so all are found.
  const uncompressed = await contentsIn(join(directory, UNCOMPRESSED_FILE))
  const compressed = await contentsIn(join(directory, RESULTS_FILE))
  const contents = merged({ ...empty(), ...uncompressed }, compressed ?? {})
  const [version = NUMERICS, ...others] = [...new Set(contents.records.flatMap(versionOf))].sort((a, b) => a - b)
  if (version === NUMERICS && others.length === 0) return contents
  const file = join(directory, compressed ? RESULTS_FILE : UNCOMPRESSED_FILE)
  if (use === 'report' && version < NUMERICS && others.length === 0) return withCurrentKeys(contents)
  throw new UsageError(numericsMessage(file, others.find((other) => other > NUMERICS) ?? version))
}

/**
 * Writes the results as a whole, and removes the file of earlier programs, whose results they include.
 * @param draft The file that the results are written to before it is renamed.
 */
export async function writeResults(directory: string, contents: Contents, draft: string): Promise<void> {
  await replaceFile(join(directory, RESULTS_FILE), await promisify(gzip)(textOf(stored(contents))), draft)
  await rm(join(directory, UNCOMPRESSED_FILE), { force: true })
}

/** @throws UsageError if a record does not have the numerics of this program */
export function requireNumerics(records: readonly object[], file: string): void {
  const other = records.flatMap(versionOf).find((version) => version !== NUMERICS)
  if (other !== undefined) throw new UsageError(numericsMessage(file, other))
}

/** The version of the numerics of a record; empty for a failed run, which has no version. */
const versionOf = (record: object): number[] =>
  'version' in record && Number.isInteger(record.version) ? [Number(record.version)] : []

/** No results. */
export const empty = (): Contents => ({
  format: FORMAT,
  name: '',
  machines: [],
  matches: [],
  records: [],
  tuning: [],
  pilot: null,
  timings: [],
  specialisations: [],
  registrations: [],
})

/** The results of both. If a run has two records, a finished one is preferred to a failed one, else the newer one. */
function merged(older: Contents, newer: Partial<Contents>): Contents {
  const { machines = [], records = [], timings = [], specialisations = [], registrations = [] } = newer
  const finished = new Set(older.records.flatMap(({ status, key }) => (status === 'finished' ? [key] : [])))
  return {
    ...older,
    ...newer,
    machines: [...new Set([...older.machines, ...machines])],
    records: union(
      older.records,
      records.filter(({ status, key }) => status === 'finished' || !finished.has(key)),
    ),
    timings: timings.length > 0 ? timings : older.timings,
    specialisations: union(older.specialisations, specialisations),
    registrations: registrations.reduce(withRegistration, older.registrations),
  }
}

/** The registrations with a further one, unless it is among them. */
export const withRegistration = (known: readonly Registration[], one: Registration): Registration[] =>
  known.some(({ sha256, at }) => sha256 === one.sha256 && at === one.at) ? [...known] : [...known, one]

function union<Entry extends { readonly key: string }>(older: readonly Entry[], newer: readonly Entry[]): Entry[] {
  const keys = new Set(newer.map(({ key }) => key))
  return [...older.filter(({ key }) => !keys.has(key)), ...newer]
}

/**
 * Replaces the keys by keys of this program. Keys contain the version of the numerics, so a report would not find the
 * runs of an older program otherwise.
 */
function withCurrentKeys(contents: Contents): Contents {
  const current = new Map(contents.records.map(({ key, config }) => [key, currentKeyOf(key, config)]))
  const renamed = <Entry extends { readonly key: string }>(entry: Entry): Entry => ({
    ...entry,
    key: current.get(entry.key) ?? entry.key,
  })
  return {
    ...contents,
    records: contents.records.map(renamed),
    timings: contents.timings.map(renamed),
    specialisations: contents.specialisations.map(renamed),
  }
}

async function contentsIn(file: string): Promise<Partial<Contents> | null> {
  try {
    const bytes = await readFile(file)
    const json = file.endsWith('.gz') ? await promisify(gunzip)(bytes, { maxOutputLength: LIMIT }) : bytes
    return contentsOf(json.toString('utf8'), file)
  } catch (error) {
    if (error instanceof RunError || error instanceof UsageError) throw error
    if (errorCode(error) === 'ENOENT') return null
    throw unreadable(file, (error as Error).message)
  }
}

const unreadable = (file: string, why: string) =>
  new RunError(`cannot read ${file}: ${why} (move it away to begin again)`)

/** Lists of measured entries, with the name of an entry for messages. */
const lists = {
  records: 'record',
  timings: 'timing',
  specialisations: 'specialisation',
  registrations: 'registration',
} as const
type ListName = keyof typeof lists
const listNames = Object.keys(lists) as ListName[]

/** What the program does again when an entry is gone. */
const remedies: Readonly<Record<(typeof lists)[ListName], string>> = {
  record: 'computed again',
  timing: 'computed again',
  specialisation: 'computed again',
  registration: 'registered again, after the results that there are',
}

/** The contents as they are written. */
const stored = (contents: Contents): object => ({
  ...contents,
  format: FORMAT,
  ...Object.fromEntries(listNames.map((name) => [name, contents[name].map(withChecksum)])),
})

function contentsOf(text: string, file: string): Partial<Contents> {
  const refuse = (why: string) => unreadable(file, why)
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch (error) {
    throw refuse((error as Error).message)
  }
  if (
    !isFields(found) ||
    !Array.isArray(found.records) ||
    !(Number(found.format) >= 1 && Number(found.format) <= FORMAT)
  )
    throw refuse(`it does not have format ${FORMAT}, which this program reads, or an older one`)
  const format = Number(found.format)
  if (format === 1) throw new UsageError(numericsMessage(file, 1))
  const wrong = problemIn('contents', found)
  if (wrong !== null) throw refuse(wrong)
  const read = listNames.map((name) => [name, entriesOf(found, name, format, file, refuse)] as const)
  return { ...found, ...Object.fromEntries(read), format: FORMAT } as Partial<Contents>
}

/** The entries of a list without their checksums. @throws RunError naming the entry and the field that is wrong */
function entriesOf(
  found: Fields,
  list: ListName,
  format: number,
  file: string,
  refuse: (why: string) => RunError,
): readonly object[] {
  const entries = found[list] ?? []
  if (!Array.isArray(entries)) throw refuse(`${list} is not a list`)
  const kind = lists[list]
  return entries.map((raw: unknown, i) => {
    const place = `${kind} ${i + 1} of ${entries.length}`
    const damaged = (why: string) => refuse(`${place} is damaged: ${why}`)
    if (!isFields(raw)) throw damaged('it is not an object')
    const { entry, isIntact } = checked(raw)
    if (format >= FIRST_WITH_CHECKSUMS && !isIntact)
      throw refuse(
        `${place}${typeof raw.key === 'string' ? ` (key ${raw.key.slice(0, 40)})` : ''} was changed after it was ` +
          `written, its checksum is another: restore the file, or gunzip it and remove the entry, which is then ${remedies[kind]}`,
      )
    const wrong = problemIn(kind, entry)
    if (wrong !== null) {
      // A record of an older program has other fields: the message about its numerics comes before one about damage.
      requireNumerics([entry], file)
      throw damaged(wrong)
    }
    return entry
  })
}

function numericsMessage(file: string, version: number): Wording {
  const todo = wording`They are left as they are; give another ${option('directory')} for a new study`
  return version > NUMERICS
    ? wording`the results in ${file} were computed by a newer program. ${todo}, or update Choir`
    : wording`the results in ${file} were computed by an older program, and cannot be compared with those of this one. Since then ${wording`these changed: ${changesSince(version)}. ${todo}`}`
}

/** Indented JSON with lists of numbers on one line. */
function textOf(contents: object): string {
  const text = JSON.stringify(contents, null, 1)
  // Only lists have a line break after the bracket; brackets within strings do not.
  return `${text.replace(/\[\n[\s\d.,eE+\-nul]*\]/g, (list) => list.replace(/\s+/g, ''))}\n`
}
