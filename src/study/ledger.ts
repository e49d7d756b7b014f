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
import { isResultOf } from './keys.ts'

const FORMAT = 1

/** With the key of its arm's first cell: another configuration of the same name has another. */
export type KeyedTiming = Timing & { readonly key: string }
export type KeyedSpecialisation = Specialisation & { readonly key: string }

interface Contents {
  readonly format: number
  name: string
  /** Each that runs were done on. */
  machines: string[]
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
      machines: [],
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

  /** What the study is, and where it runs now. */
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
    const known = this.find(key, record.config)
    // That it failed to be looked at again takes nothing from a run that is done.
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

  /** One write at a time: several runs may end at once. */
  private write(): Promise<void> {
    this.writing = this.writing.catch(() => {}).then(() => replaceFile(this.file, textOf(this.contents)))
    return this.writing
  }
}

/** Indented, but lists of numbers on a line. */
function textOf(contents: object): string {
  const text = JSON.stringify(contents, null, 1)
  // A list begins on a line of its own; brackets inside of a text do not.
  return `${text.replace(/\[\n[\s\d.,eE+\-nul]*\]/g, (list) => list.replace(/\s+/g, ''))}\n`
}
