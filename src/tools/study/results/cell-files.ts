/**
 * The cells of a study as several processes share them. The file `cells/KEY.N.json` is the N-th claim of a cell, and
 * later its result. A process claims a cell by the exclusive creation of the file with the next number, which is
 * allowed if the holder of the claim before it is dead or has released it. Only the holder writes its file again, so no
 * process can ever overwrite the result of another: a cell that two processes did has two results.
 *
 * Files are removed only when no other process is left and results.json.gz has all results (`conclude.ts`).
 */
import { readdir, readFile, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isFields } from '../../../core/config/fields.ts'
import { RunError } from '../../../core/errors.ts'
import { createFile, errorCode, makeFolder, replaceFile } from '../../../node/system/disk.ts'
import type { Registration, RunRecord, Specialisation, Timing } from '../contract.ts'
import { checksumOf } from './checksum.ts'
import type { Holder, Processes } from './processes.ts'
import { problemIn } from './record-schema.ts'

/** A timing with the key of the first cell of its arm: an arm of the same name may have had another configuration. */
export type KeyedTiming = Timing & { readonly key: string }

export interface CellResult {
  readonly record?: RunRecord
  readonly specialisation?: Specialisation | null
  readonly timings?: readonly KeyedTiming[]
  readonly registration?: Registration
  /** The machine, as described by `describeMachine`. */
  readonly machine: string
}

interface CellFile {
  /** Checksum of the result: see `checksum.ts`. */
  readonly checksum?: string
  /** The holder of the claim; null once the claim is released or finished: then the file never changes again. */
  readonly holder: Holder | null
  readonly result: CellResult | null
}

const namePattern = /^(.+)\.(\d+)\.json$/

const signed = (file: CellFile): CellFile => ({ ...file, ...(file.result && { checksum: checksumOf(file.result) }) })

/** @throws RunError if the result was changed after it was written, or a field of it has a wrong type */
function expectIntact(file: unknown, path: string): CellFile {
  const refuse = (why: string) =>
    new RunError(`cannot read ${path}: ${why} (remove it, and the cell is computed again)`)
  if (!isFields(file)) throw refuse('it is not an object')
  const { result, checksum } = file
  if (result === null) return { ...file, result } as CellFile
  if (!isFields(result)) throw refuse('its result is not an object')
  // A process of an earlier version, which writes no checksum, may work on the study too.
  if (checksum !== undefined && checksum !== checksumOf(result))
    throw refuse('its result was changed after it was written: its checksum is another')
  for (const kind of ['record', 'registration'] as const) {
    const wrong = result[kind] === undefined ? null : problemIn(kind, result[kind])
    if (wrong !== null) throw refuse(`its ${kind} is damaged: ${wrong}`)
  }
  return file as unknown as CellFile
}

/** Reads the results in a folder, without the right to add any. */
export class CellFiles {
  protected readonly folder: string
  /** Holders by file name. */
  protected readonly known = new Map<string, Holder | null>()
  /** Highest known number of each cell. */
  protected readonly last = new Map<string, number>()
  private readonly reported = new Set<string>()
  private found: CellResult[] = []

  constructor(directory: string) {
    this.folder = join(directory, 'cells')
  }

  /** Results that were not returned before; the results of one cell are in the order of their claims. */
  async news(): Promise<CellResult[]> {
    const numbered = (await readdir(this.folder).catch((): string[] => [])).flatMap((name) => {
      const match = namePattern.exec(name)
      return match ? [{ name, number: Number(match[2]) }] : []
    })
    for (const { name } of numbered.toSorted((a, b) => a.number - b.number)) await this.read(name)
    return this.take()
  }

  /** Results that {@link read} has found since the last call. */
  protected take(): CellResult[] {
    const found = this.found
    this.found = []
    return found
  }

  /** The holder of a claim; null if it has ended. Opening a file makes network file systems ask the server. */
  protected async read(name: string): Promise<Holder | null> {
    if (this.known.get(name) === null) return null
    const path = join(this.folder, name)
    let file: CellFile
    try {
      file = expectIntact(JSON.parse(await readFile(path, 'utf8')), path)
    } catch (error) {
      if (error instanceof RunError) throw error
      // The file was removed, or a power cut has left it empty on a file system without hard links.
      const isReleased = error instanceof SyntaxError || ['ENOENT', 'ESTALE'].includes(errorCode(error) ?? '')
      if (!isReleased) throw new RunError(`cannot read ${path}: ${(error as Error).message}`)
      file = { holder: null, result: null }
    }
    this.note(name, file.holder)
    if (file.result && !this.reported.has(name)) {
      this.reported.add(name)
      this.found.push(file.result)
    }
    return file.holder
  }

  protected note(name: string, holder: Holder | null): void {
    this.known.set(name, holder)
    const [, key = '', number] = namePattern.exec(name) ?? []
    this.last.set(key, Math.max(this.last.get(key) ?? 0, Number(number)))
  }
}

/** The cells of a study that this process takes part in. */
export class SharedCells extends CellFiles {
  private readonly processes: Processes
  private readonly open = new Set<Claim>()

  constructor(directory: string, processes: Processes) {
    super(directory)
    this.processes = processes
  }

  /**
   * Claims a cell. Returns the holder if a living process has the cell, and null if the cell is not wanted any more.
   * @param isWanted Whether the cell is still wanted. It is called before the claim, with results found meanwhile.
   */
  async claim(key: string, isWanted: (news: readonly CellResult[]) => boolean): Promise<Claim | Holder | null> {
    await this.processes.requireMember()
    for (let number = this.last.get(key) ?? 0; ; number++) {
      const holder = number === 0 ? null : await this.read(`${key}.${number}.json`)
      if (holder && (await this.processes.isLive(holder))) return holder
      if (!isWanted(this.take())) return null
      const name = `${key}.${number + 1}.json`
      if (!(await this.create(name))) continue
      this.note(name, this.processes.self)
      const claim = new Claim(this.processes.self, (file) => this.write(name, file))
      this.open.add(claim)
      return claim
    }
  }

  /** Ends all claims that are still open, so that other processes need not wait. */
  async releaseAll(): Promise<void> {
    for (const claim of this.open) await claim.release()
  }

  /** The files that this process has read or written. */
  get names(): readonly string[] {
    return [...this.known.keys()]
  }

  /** Removes these files, and the folder if no other file is in it. */
  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) await rm(join(this.folder, name), { force: true })
    await rmdir(this.folder).catch(() => {})
  }

  private async create(name: string): Promise<boolean> {
    const path = join(this.folder, name)
    for (let attempt = 0; ; attempt++)
      try {
        return await createFile(
          path,
          JSON.stringify({ holder: this.processes.self, result: null }),
          this.processes.draft(name),
        )
      } catch (error) {
        if (errorCode(error) !== 'ENOENT' || attempt > 2)
          throw new RunError(`cannot write ${path}: ${(error as Error).message}`)
        await makeFolder(this.folder).catch(() => {})
      }
  }

  private async write(name: string, file: CellFile): Promise<void> {
    await this.processes.requireMember()
    await replaceFile(join(this.folder, name), JSON.stringify(signed(file)), this.processes.draft(name))
    this.note(name, file.holder)
  }
}

/** The right of this process to do a cell. */
export class Claim {
  private readonly holder: Holder
  private readonly write: (file: CellFile) => Promise<void>
  private result: CellResult | null = null
  private isOpen = true

  constructor(holder: Holder, write: (file: CellFile) => Promise<void>) {
    this.holder = holder
    this.write = write
  }

  /** Stores a result and keeps the claim. */
  async keep(result: CellResult): Promise<void> {
    this.result = result
    await this.write({ holder: this.holder, result })
  }

  /** Stores the result and ends the claim. */
  async finish(result: CellResult): Promise<void> {
    this.result = result
    await this.release()
  }

  /** Ends the claim, with the result that was kept, if any. */
  async release(): Promise<void> {
    if (!this.isOpen) return
    await this.write({ holder: null, result: this.result })
    this.isOpen = false
  }
}
