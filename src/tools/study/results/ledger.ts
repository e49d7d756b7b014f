/**
 * results.json: all results of a study, rewritten as a whole after every run. The next start of the study
 * continues from it, even without the run directories.
 *
 * While processes work on the study, results are also in `cells/` (`cell-files.ts`). A process may overwrite
 * results.json without the newest result of another, but each writes all that it has read, and the last one reads all.
 *
 * Every entry has a checksum, which is checked when it is read (`checksum.ts`), and then the type of every field
 * (`record-schema.ts`): what was changed by hand or damaged is refused with its place, not reported.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Fields, isFields } from '../../../core/config/fields.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import { errorCode, replaceFile } from '../../../node/system/disk.ts'
import type { PilotResult, RunRecord, Specialisation, Tuning } from '../contract.ts'
import { CellFiles, type CellResult, type KeyedTiming } from '../sharing/cell-files.ts'
import type { Processes } from '../sharing/processes.ts'
import { checked, withChecksum } from './checksum.ts'
import { isResultOf } from './keys.ts'
import { changesSince, NUMERICS } from './numerics.ts'
import { problemIn } from './record-schema.ts'

/** Format 1 had no version of the numerics; format 2, of which results are read too, had no checksums. */
const FORMAT = 3
const FIRST_WITH_CHECKSUMS = 3

/** As {@link KeyedTiming}. */
export type KeyedSpecialisation = Specialisation & { readonly key: string }

interface Contents {
  readonly format: number
  name: string
  /** All machines that did runs. */
  machines: string[]
  /** Runs and, under their own keys, trials of sweeps. */
  records: RunRecord[]
  /** Computed from the records; stored for people and notebooks. */
  tuning: readonly Tuning[]
  pilot: PilotResult | null
  timings: KeyedTiming[]
  specialisations: KeyedSpecialisation[]
}

export class Ledger {
  readonly file: string
  private readonly contents: Contents
  private readonly cells: CellFiles
  private readonly processes: Processes | undefined
  private writing: Promise<void> = Promise.resolve()

  private constructor(file: string, contents: Contents, cells: CellFiles, processes?: Processes) {
    this.file = file
    this.contents = contents
    this.cells = cells
    this.processes = processes
  }

  /**
   * Reads the results in a folder, or starts empty. A results.json that cannot be read is never overwritten.
   * @param processes The processes of the study, if results are to be written.
   * @throws RunError if it cannot be read: it may contain hours of work
   * @throws UsageError if its results have another version of the numerics: see `numerics.ts`
   */
  static async open(
    directory: string,
    cells: CellFiles = new CellFiles(directory),
    processes?: Processes,
  ): Promise<Ledger> {
    const file = join(directory, 'results.json')
    // Before results.json: cells are removed when it has them, so together the two are complete.
    const found = await cells.news()
    const ledger = new Ledger(file, await readContents(file), cells, processes)
    ledger.absorb(found)
    return ledger
  }

  /** Stores the name of the study. */
  async describe(name: string): Promise<void> {
    this.contents.name = name
    await this.write()
  }

  get machines(): readonly string[] {
    return this.contents.machines
  }

  get name(): string {
    return this.contents.name
  }

  /** The record of a configuration, unless it was made under other defaults. */
  find(key: string, config: RunConfig): RunRecord | undefined {
    const record = this.contents.records.find((other) => other.key === key)
    return record && isResultOf(record.config, config) ? record : undefined
  }

  get timings(): readonly KeyedTiming[] {
    return this.contents.timings
  }

  get specialisations(): readonly KeyedSpecialisation[] {
    return this.contents.specialisations
  }

  /** Adds the results of other processes. Returns their records. */
  async refresh(): Promise<readonly RunRecord[]> {
    return this.absorb(await this.cells.news())
  }

  /** Adds results without writing them. Returns their records. */
  absorb(results: readonly CellResult[]): readonly RunRecord[] {
    for (const result of results) {
      if (result.record) requireNumerics([result.record], this.file)
      this.add(result)
    }
    return results.flatMap(({ record }) => record ?? [])
  }

  async put(result: CellResult): Promise<void> {
    this.add(result)
    await this.write()
  }

  private add({ record, specialisation, timings, machine }: CellResult): void {
    const { contents } = this
    if (!contents.machines.includes(machine)) contents.machines = [...contents.machines, machine]
    if (timings) contents.timings = [...timings]
    if (!record) return
    const { key } = record
    // A finished run is kept if measuring its specialisation fails later.
    if (record.status === 'failed' && this.find(key, record.config)?.status === 'finished') return
    const others = <T extends { readonly key: string }>(list: readonly T[]) => list.filter((other) => other.key !== key)
    contents.records = [...others(contents.records), record]
    if (specialisation) contents.specialisations = [...others(contents.specialisations), { ...specialisation, key }]
  }

  /** Stores the results of sweeps and pilot. */
  async putFindings(findings: Pick<Contents, 'tuning' | 'pilot'>): Promise<void> {
    Object.assign(this.contents, findings)
    await this.write()
  }

  /** Writes one after the other: several runs may end at once. */
  write(): Promise<void> {
    this.writing = this.writing
      .catch(() => {})
      .then(async () => {
        await this.processes?.requireMember()
        await replaceFile(this.file, textOf(stored(this.contents)), this.processes?.draft('results'))
      })
    return this.writing
  }
}

async function readContents(file: string): Promise<Contents> {
  const empty: Contents = {
    format: FORMAT,
    name: '',
    machines: [],
    records: [],
    tuning: [],
    pilot: null,
    timings: [],
    specialisations: [],
  }
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return empty
    throw new RunError(`cannot read ${file}: ${(error as Error).message}`)
  }
  return { ...empty, ...contentsOf(text, file) }
}

/** Lists of measured entries, with the name of one for messages. */
const lists = { records: 'record', timings: 'timing', specialisations: 'specialisation' } as const
type ListName = keyof typeof lists
const listNames = Object.keys(lists) as ListName[]

/** The contents as they are written. */
const stored = (contents: Contents): object => ({
  ...contents,
  format: FORMAT,
  ...Object.fromEntries(listNames.map((name) => [name, contents[name].map(withChecksum)])),
})

function contentsOf(text: string, file: string): Partial<Contents> {
  const refuse = (why: string) => new RunError(`cannot read ${file}: ${why} (move it away to begin again)`)
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
          'written, its checksum is another: restore the file, or remove the entry, which is then computed again',
      )
    if (list === 'records') requireNumerics([entry], file)
    const wrong = problemIn(kind, entry)
    if (wrong !== null) throw damaged(wrong)
    return entry
  })
}

/** @throws UsageError if a record has another version of the numerics */
function requireNumerics(records: readonly object[], file: string): void {
  const versions = records.map((record) => ('version' in record ? record.version : undefined))
  const other = versions.find((version) => Number.isInteger(version) && version !== NUMERICS)
  if (other !== undefined) throw new UsageError(numericsMessage(file, Number(other)))
}

function numericsMessage(file: string, version: number): string {
  const todo = 'They are left as they are; give another --out for a new study'
  return version > NUMERICS
    ? `the results in ${file} were computed by a newer program. ${todo}, or update Choir`
    : `the results in ${file} were computed by an older program, and cannot be compared with those of this one. ` +
        `Since then these changed: ${changesSince(version)}. ${todo}`
}

/** Indented JSON with lists of numbers on one line. */
function textOf(contents: object): string {
  const text = JSON.stringify(contents, null, 1)
  // Only lists have a line break after the bracket; brackets within strings do not.
  return `${text.replace(/\[\n[\s\d.,eE+\-nul]*\]/g, (list) => list.replace(/\s+/g, ''))}\n`
}
