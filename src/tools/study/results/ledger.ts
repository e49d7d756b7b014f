/**
 * All results of a study: results.json.gz (`results-file.ts`), rewritten as a whole after every run. The next start of
 * the study continues from it, even without the run directories.
 *
 * While processes work on the study, results are also in `cells/` (`cell-files.ts`). A process may overwrite
 * results.json.gz without the newest result of another process. But each process writes everything that it has read,
 * and the last process reads everything.
 */
import { join } from 'node:path'
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { Registration, RunRecord } from '../contract.ts'
import { isResultOf } from '../grid/keys.ts'
import { CellFiles, type CellResult, type KeyedTiming } from './cell-files.ts'
import type { Processes } from './processes.ts'
import {
  type Contents,
  empty,
  type KeyedSpecialisation,
  RESULTS_FILE,
  readResults,
  requireNumerics,
  withRegistration,
  writeResults,
} from './results-file.ts'

export class Ledger {
  readonly file: string
  private readonly directory: string
  private readonly contents: Contents
  private readonly cells: CellFiles
  private readonly processes: Processes | undefined
  private writing: Promise<void> = Promise.resolve()

  private constructor(directory: string, contents: Contents, cells: CellFiles, processes?: Processes) {
    this.directory = directory
    this.file = join(directory, RESULTS_FILE)
    this.contents = contents
    this.cells = cells
    this.processes = processes
  }

  /**
   * Reads the results in a folder, or starts empty. A file of results that cannot be read is never overwritten.
   * @param processes The processes of the study, if results are to be written. Without them the ledger is only read;
   *   its results may then have older numerics, if all have the same version.
   * @throws what {@link readResults} throws
   */
  static async open(
    directory: string,
    cells: CellFiles = new CellFiles(directory),
    processes?: Processes,
  ): Promise<Ledger> {
    return Ledger.read(directory, processes ? 'continue' : 'report', cells, processes)
  }

  /** Results that a start of the study would continue, only to be read. @throws what {@link readResults} throws */
  static toContinue(directory: string): Promise<Ledger> {
    return Ledger.read(directory, 'continue', new CellFiles(directory))
  }

  /** Results of a study without a folder: there are none. */
  static empty(): Ledger {
    return new Ledger('', empty(), new CellFiles(''))
  }

  private static async read(
    directory: string,
    use: 'continue' | 'report',
    cells: CellFiles,
    processes?: Processes,
  ): Promise<Ledger> {
    // Cells are read before results.json.gz. They are removed only when that file has them, so no result is missed.
    const found = await cells.news()
    const ledger = new Ledger(directory, await readResults(directory, use), cells, processes)
    ledger.absorb(found)
    return ledger
  }

  /** Stores the name of the study, and the fields of its arms that were solved for. */
  async describe({ name, matches }: Pick<Contents, 'name' | 'matches'>): Promise<void> {
    Object.assign(this.contents, { name, matches })
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

  /** The results of every kind of run, also those that no cell of the study has any more. */
  get records(): readonly RunRecord[] {
    return this.contents.records
  }

  get timings(): readonly KeyedTiming[] {
    return this.contents.timings
  }

  get specialisations(): readonly KeyedSpecialisation[] {
    return this.contents.specialisations
  }

  /** Predictions as they were registered, in order. */
  get registrations(): readonly Registration[] {
    return this.contents.registrations
  }

  /** Number of results of every kind of run: finished and failed runs, and trials of sweeps. */
  get ended(): number {
    return this.contents.records.length
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

  private add({ record, specialisation, timings, registration, machine }: CellResult): void {
    const { contents } = this
    if (registration) contents.registrations = withRegistration(contents.registrations, registration)
    // A process that only registers predictions has computed nothing.
    else if (!contents.machines.includes(machine)) contents.machines = [...contents.machines, machine]
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

  /** Writes all results. Calls are processed one after the other, because several runs may end at once. */
  write(): Promise<void> {
    const { processes } = this
    if (!processes) throw new Error('internal: a ledger without processes is only read')
    this.writing = this.writing
      .catch(() => {})
      .then(async () => {
        await processes.requireMember()
        await writeResults(this.directory, this.contents, processes.draft('results'))
      })
    return this.writing
  }
}
