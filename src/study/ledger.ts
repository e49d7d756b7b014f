/**
 * results.json: everything that a study has found out, rewritten whole after every run. A study that is
 * started again goes on from it, also where the run directories are gone.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../errors.ts'
import type { RunConfig } from '../train/config.ts'
import { errorCode, replaceFile } from '../train/disk.ts'
import type { RunRecord, Specialisation, Timing } from './contract.ts'
import { isResultOf } from './grid.ts'
import type { Specification } from './specification.ts'

const FORMAT = 1

/** With the key of its arm's first cell: another configuration of the same name has another. */
export type KeyedTiming = Timing & { readonly key: string }
export type KeyedSpecialisation = Specialisation & { readonly key: string }

interface Contents {
  readonly format: number
  name: string
  command: string
  machine: string
  specification: Specification | null
  records: RunRecord[]
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

  /** @throws RunError when there is a results.json that cannot be read: it may hold hours of work */
  static async open(directory: string): Promise<Ledger> {
    const file = join(directory, 'results.json')
    const empty: Contents = {
      format: FORMAT,
      name: '',
      command: '',
      machine: '',
      specification: null,
      records: [],
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
    try {
      const stored = JSON.parse(text) as Contents
      if (stored.format !== FORMAT || !Array.isArray(stored.records))
        throw new Error(`it is not of format ${FORMAT} of this program`)
      return new Ledger(file, { ...empty, ...stored })
    } catch (error) {
      throw new RunError(`cannot read ${file}: ${(error as Error).message} (move it away to begin anew)`)
    }
  }

  /** What the study is, and where it runs. */
  async describe(about: Pick<Contents, 'name' | 'command' | 'machine' | 'specification'>): Promise<void> {
    Object.assign(this.contents, about)
    await this.write()
  }

  get machine(): string {
    return this.contents.machine
  }

  get specification(): Specification | null {
    return this.contents.specification
  }

  get command(): string {
    return this.contents.command
  }

  get name(): string {
    return this.contents.name
  }

  /** The record of a configuration; one of the same name that was made under other defaults does not count. */
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

  /** One write at a time: several runs may end at once. */
  private write(): Promise<void> {
    this.writing = this.writing.catch(() => {}).then(() => replaceFile(this.file, textOf(this.contents)))
    return this.writing
  }
}

/** Indented, but lists of numbers on a line. */
function textOf(contents: object): string {
  const text = JSON.stringify(contents, null, 1)
  return `${text.replace(/\[[\s\d.,eE+\-nul]*\]/g, (list) => list.replace(/\s+/g, ''))}\n`
}
