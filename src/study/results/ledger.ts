/**
 * results.json: all results of a study, rewritten as a whole after every run. The next start of the study
 * continues from it, even without the run directories.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../config/run-config.ts'
import { RunError, UsageError } from '../../errors.ts'
import { errorCode, replaceFile } from '../../system/disk.ts'
import type { FinishedRun, PilotResult, RunRecord, Specialisation, Timing, Tuning } from '../contract.ts'
import { isResultOf } from './keys.ts'
import { changesSince, NUMERICS } from './numerics.ts'

/** Format 1 had no version of the numerics. */
const FORMAT = 2

/** With the key of the first cell of its arm, since an arm of the same name may have had another configuration. */
export type KeyedTiming = Timing & { readonly key: string }
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
  private writing: Promise<void> = Promise.resolve()

  private constructor(file: string, contents: Contents) {
    this.file = file
    this.contents = contents
  }

  /**
   * Reads the results in a folder, or starts empty. A results.json that cannot be read is never overwritten.
   * @throws RunError if it cannot be read: it may contain hours of work
   * @throws UsageError if its results have another version of the numerics: see `numerics.ts`
   */
  static async open(directory: string): Promise<Ledger> {
    const file = join(directory, 'results.json')
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
      if (errorCode(error) === 'ENOENT') return new Ledger(file, empty)
      throw new RunError(`cannot read ${file}: ${(error as Error).message}`)
    }
    return new Ledger(file, { ...empty, ...contentsOf(text, file) })
  }

  /** Stores the name of the study and the machine that it runs on now. */
  async describe({ name, machine }: { readonly name: string; readonly machine: string }): Promise<void> {
    const { machines } = this.contents
    Object.assign(this.contents, { name, machines: [...machines.filter((other) => other !== machine), machine] })
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

  async put(record: RunRecord, specialisation: Specialisation | null = null): Promise<void> {
    const { key } = record
    const known = this.find(key, record.config)
    // A finished run is kept if measuring its specialisation fails later.
    if (record.status === 'failed' && known?.status === 'finished') return
    const others = <T extends { readonly key: string }>(list: readonly T[]) => list.filter((other) => other.key !== key)
    this.contents.records = [...others(this.contents.records), record]
    if (specialisation)
      this.contents.specialisations = [...others(this.contents.specialisations), { ...specialisation, key }]
    await this.write()
  }

  async putTimings(timings: readonly KeyedTiming[]): Promise<void> {
    this.contents.timings = [...timings]
    await this.write()
  }

  /** Stores the results of sweeps and pilot. */
  async putFindings(findings: Pick<Contents, 'tuning' | 'pilot'>): Promise<void> {
    Object.assign(this.contents, findings)
    await this.write()
  }

  /** Writes one after the other: several runs may end at once. */
  private write(): Promise<void> {
    this.writing = this.writing.catch(() => {}).then(() => replaceFile(this.file, textOf(this.contents)))
    return this.writing
  }
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
  const versions = stored.records.flatMap((record) => (record.status === 'finished' ? [record.version] : []))
  const other = format < FORMAT ? 1 : versions.find((version) => version !== NUMERICS)
  if (other !== undefined) throw new UsageError(numericsMessage(file, other))
  return stored as Contents
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
