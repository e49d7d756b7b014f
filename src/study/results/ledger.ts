/**
 * results.json: all results of a study, rewritten as a whole after every run. The next start of the study
 * continues from it, even without the run directories.
 *
 * While processes work on the study, results are also in `cells/` (`cell-files.ts`). A process may overwrite
 * results.json without the newest result of another, but each writes all that it has read, and the last one reads all.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../config/run-config.ts'
import { RunError, UsageError } from '../../errors.ts'
import { errorCode, replaceFile } from '../../system/disk.ts'
import type { FinishedRun, PilotResult, RunRecord, Specialisation, Tuning } from '../contract.ts'
import { CellFiles, type CellResult, type KeyedTiming } from '../sharing/cell-files.ts'
import type { Processes } from '../sharing/processes.ts'
import { isResultOf } from './keys.ts'
import { changesSince, NUMERICS } from './numerics.ts'

/** Format 1 had no version of the numerics. */
const FORMAT = 2

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
        await replaceFile(this.file, textOf(this.contents), this.processes?.draft('results'))
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

function contentsOf(text: string, file: string): Contents {
  const refuse = (why: string) => new RunError(`cannot read ${file}: ${why} (move it away to begin again)`)
  let stored: Partial<Contents> | null
  try {
    stored = JSON.parse(text) as Partial<Contents> | null
  } catch (error) {
    throw refuse((error as Error).message)
  }
  const format = stored?.format
  if (!stored || !Array.isArray(stored.records) || format === undefined || format > FORMAT)
    throw refuse(`it does not have format ${FORMAT}, which this program reads`)
  // Records of format 1 have no version: they have the first numerics.
  const damaged = stored.records.findIndex((record) => !isRecord(record, format === FORMAT))
  if (damaged >= 0) throw refuse(`record ${damaged + 1} of ${stored.records.length} is damaged`)
  if (format < FORMAT) throw new UsageError(numericsMessage(file, 1))
  requireNumerics(stored.records, file)
  return stored as Contents
}

/** @throws UsageError if a record has another version of the numerics */
function requireNumerics(records: readonly RunRecord[], file: string): void {
  const versions = records.flatMap((record) => (record.status === 'finished' ? [record.version] : []))
  const other = versions.find((version) => version !== NUMERICS)
  if (other !== undefined) throw new UsageError(numericsMessage(file, other))
}

const isRecord = (
  record: (Partial<Omit<FinishedRun, 'status'>> & { status?: unknown }) | null,
  hasVersion: boolean,
): boolean =>
  typeof record === 'object' &&
  record !== null &&
  typeof record.key === 'string' &&
  typeof record.config === 'object' &&
  record.config !== null &&
  (record.status === 'finished' || record.status === 'failed') &&
  (!hasVersion || record.status === 'failed' || Number.isInteger(record.version))

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
