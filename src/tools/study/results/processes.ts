/**
 * The processes that work on one study, on any machines that share its folder. Each process has a numbered file in
 * `processes/`, which it rewrites as a sign of life, and removes when it ends.
 *
 * A process of this machine is alive if the operating system lists it. A process of another machine is alive if its
 * file was written recently by the clock of the file server. Clocks of machines differ, so the age of a file is the
 * difference between its time and the time of a file that this process has just written.
 *
 * A process may be taken for dead and go on later, for example after its machine was suspended. It then finds its file
 * removed, and writes nothing more: see {@link Processes.requireMember}.
 */

import { randomUUID } from 'node:crypto'
import { type FileHandle, open, readdir, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { joinWords } from '../../../core/text/numbers.ts'
import { createFile, errorCode, makeFolder, replaceFile } from '../../../node/system/disk.ts'
import { isRunning, machineId, processStart } from '../../../node/system/process-identity.ts'
import { NUMERICS } from '../grid/numerics.ts'
import type { Specification } from '../specification.ts'

const HEARTBEAT_MS = 15_000

/** Age of its last sign of life at which a process of another machine counts as dead. */
export const EXPIRY_MS = 5 * 60_000

/** A process as claims name it. */
export interface Holder {
  /** Unique to one start of a study. */
  readonly id: string
  /** Number of its file. */
  readonly number: number
  readonly pid: number
  readonly host: string
  /** Id of the machine and container; equal for processes whose process ids can be compared. */
  readonly machine: string
  /** Start time, which distinguishes a later process with the same id; null if the system does not report it. */
  readonly start: string | null
  /** Time at which it joined the study, in ISO 8601. */
  readonly since: string
}

type Entry = Holder & StudyFacts & { readonly writtenAt: number }

export class Processes {
  readonly self: Holder
  private readonly folder: string
  private facts: StudyFacts
  private timer: NodeJS.Timeout | undefined
  private beating: Promise<void> = Promise.resolve()
  private isGone = false
  private clock = { time: 0, readAt: Number.NEGATIVE_INFINITY }
  /** Time, by the file server's clock, before which no process of another machine is taken for dead. */
  private judgesFrom = 0

  private constructor(folder: string, self: Holder, facts: StudyFacts) {
    this.folder = folder
    this.self = self
    this.facts = facts
  }

  /**
   * Registers this process. Its number is above the numbers of all processes that it has examined, so of several
   * processes that start at once without `mayJoin` only one succeeds.
   * @param machine Id and host name of this machine. Tests give others, as if there were several machines.
   * @throws RunError if the study runs already, unless `mayJoin`
   * @throws UsageError if another study runs in the folder
   */
  static async join(
    directory: string,
    facts: StudyFacts,
    mayJoin: boolean,
    machine: { readonly machine: string; readonly host: string } = { machine: machineId(), host: hostname() },
  ): Promise<Processes> {
    const folder = join(directory, 'processes')
    const identity = { id: randomUUID(), pid: process.pid, ...machine }
    const since = { start: await processStart(process.pid), since: new Date().toISOString() }
    for (;;) {
      const candidate = new Processes(folder, { ...identity, ...since, number: 0 }, facts)
      await candidate.makeFolder()
      const entries = await candidate.list()
      await candidate.examine(entries, directory, mayJoin)
      const number = Math.max(0, ...entries.map((entry) => entry.number)) + 1
      const processes = new Processes(folder, { ...candidate.self, number }, facts)
      if (!(await processes.create())) continue
      try {
        // If files were removed meanwhile, another process may have taken a lower number.
        const now = await processes.list()
        const isBefore = (entry: Entry) => entry.number < number
        await processes.examine(now.filter(isBefore), directory, mayJoin)
        await processes.examine(
          now.filter((entry) => !isBefore(entry)),
          directory,
          true,
        )
      } catch (error) {
        await processes.leave()
        throw error
      }
      processes.timer = setInterval(() => void processes.beat().catch(() => {}), HEARTBEAT_MS).unref()
      return processes
    }
  }

  /** Path of a file while it is being written. Once this process is taken for dead, a file of that path is removed. */
  draft(of: string): string {
    return join(this.folder, `${this.self.id}.${of}.tmp`)
  }

  /** Living processes other than this one. */
  async others(): Promise<Holder[]> {
    return this.living(await this.list())
  }

  async isLive(holder: Holder): Promise<boolean> {
    if (holder.id === this.self.id) return true
    if (holder.machine === this.self.machine) return isRunning(holder.pid, holder.start)
    const entry = await this.read(holder.number)
    if (entry?.id !== holder.id) return false
    if ((await this.serverTime()) - entry.writtenAt < EXPIRY_MS) return true
    // If the file server did not answer for a while, the others may not have been able to write either.
    await this.beat()
    return (await this.serverTime()) < this.judgesFrom
  }

  /** The name of a process for messages: `process 12`, with its host if it runs on another machine. */
  nameOf({ pid, host, machine }: Holder): string {
    return machine === this.self.machine ? `process ${pid}` : `process ${pid} on ${host}`
  }

  /** Publishes the hashes of the texts of this process. @throws UsageError if another process has other texts */
  async declareTexts(texts: StudyFacts['texts']): Promise<void> {
    this.facts = { ...this.facts, texts }
    await this.beat()
    for (const other of await this.living(await this.list())) {
      const difference = textDifference(this.facts, other)
      if (difference !== null)
        throw new UsageError(
          `the text of ${difference} is not the one that ${this.nameOf(other)} reads: losses on two texts cannot be compared`,
        )
    }
  }

  /** Checks that this process may write. @throws RunError if others have taken it for dead and removed its file */
  async requireMember(): Promise<void> {
    if (!this.isGone && (await this.read(this.self.number))?.id === this.self.id) return
    this.isGone = true
    throw new RunError(
      `other processes of the study have taken this one for dead, because it gave no sign of life for ` +
        `${EXPIRY_MS / 60_000} minutes, and have ended the study. Start it again to continue`,
    )
  }

  /** Waits until the other processes, all or only on this machine, have ended. Returns whether they have. */
  async untilAlone(which: 'all' | 'here', patienceMs: number, signal?: AbortSignal): Promise<boolean> {
    const until = performance.now() + patienceMs
    for (;;) {
      const others = await this.others()
      const left = which === 'all' ? others : others.filter(({ machine }) => machine === this.self.machine)
      if (left.length === 0) return true
      if (performance.now() > until || signal?.aborted) return false
      await delay(100)
    }
  }

  /** Removes the files of dead processes, drafts first, unless another process is alive. Returns whether it did. */
  async removeDead(): Promise<boolean> {
    // Names are listed before the check, so a process that joins after the check keeps its file.
    const isOwn = (name: string) => name === fileName(this.self.number) || name.startsWith(this.self.id)
    const names = (await this.names()).filter((name) => !isOwn(name))
    if ((await this.others()).length > 0) return false
    const isDraft = (name: string) => name.endsWith('.tmp')
    for (const name of [...names.filter(isDraft), ...names.filter((name) => !isDraft(name))])
      await rm(join(this.folder, name), { force: true })
    return true
  }

  async leave(): Promise<void> {
    clearInterval(this.timer)
    await this.beating.catch(() => {})
    await rm(this.draft('beat'), { force: true })
    if ((await this.read(this.self.number))?.id === this.self.id)
      await rm(join(this.folder, fileName(this.self.number)), { force: true })
    // The folder is not empty if there are other processes.
    await rmdir(this.folder).catch(() => {})
  }

  private async makeFolder(): Promise<void> {
    try {
      await makeFolder(this.folder)
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw new RunError(`cannot create ${this.folder}: ${(error as Error).message}`)
    }
  }

  private async create(): Promise<boolean> {
    const path = join(this.folder, fileName(this.self.number))
    try {
      return await createFile(path, this.contents(), this.draft('beat'))
    } catch (error) {
      // The last process of the study has just removed the folder.
      if (errorCode(error) === 'ENOENT') return false
      throw new RunError(`cannot write ${path}: ${(error as Error).message}`)
    }
  }

  private contents(): string {
    return JSON.stringify({ ...this.self, ...this.facts })
  }

  /** Rewrites the file of this process: a rename gives it the time of the file server, and no cache hides it. */
  private beat(): Promise<void> {
    this.beating = this.beating
      .catch(() => {})
      .then(async () => {
        const before = await this.read(this.self.number)
        if (before?.id !== this.self.id) {
          this.isGone = true
          return
        }
        await replaceFile(join(this.folder, fileName(this.self.number)), this.contents(), this.draft('beat'))
        const now = (await this.read(this.self.number))?.writtenAt ?? before.writtenAt
        if (now - before.writtenAt > 4 * HEARTBEAT_MS) this.judgesFrom = now + EXPIRY_MS
      })
    return this.beating
  }

  /** The file server's clock, at most two seconds old. */
  private async serverTime(): Promise<number> {
    const age = performance.now() - this.clock.readAt
    return age < 2000 ? this.clock.time + age : this.readClock()
  }

  /** Reads the clock from a new file, whose creation also makes network file systems list the folder again. */
  private async readClock(): Promise<number> {
    const path = this.draft(`clock-${randomUUID()}`)
    try {
      await writeFile(path, '')
      this.clock = { time: (await stat(path)).mtimeMs, readAt: performance.now() }
      return this.clock.time
    } catch (error) {
      if (errorCode(error) === 'ENOENT') await this.requireMember()
      throw new RunError(`cannot write ${path}: ${(error as Error).message}`)
    } finally {
      await rm(path, { force: true })
    }
  }

  private async examine(entries: readonly Entry[], directory: string, mayJoin: boolean): Promise<void> {
    for (const other of await this.living(entries)) {
      const name = this.nameOf(other)
      const difference = whyDifferent(this.facts, other)
      if (difference !== null)
        throw new UsageError(
          wording`${name} runs a study in ${directory} that cannot be joined: ${difference}. Wait for it, or give another ${option('directory')}`,
        )
      if (mayJoin) continue
      const age = Math.round(((await this.serverTime()) - other.writtenAt) / 1000)
      const seen = other.machine === this.self.machine ? '' : `, and gave its last sign of life ${age} s ago`
      throw new RunError(
        wording`the study in ${directory} is in use by ${name}, which runs it since ${other.since}${seen}. Wait for it or stop ${wording`it; with ${option('join')} this process does a part of its runs`}`,
      )
    }
  }

  private async living(entries: readonly Entry[]): Promise<Entry[]> {
    const living: Entry[] = []
    for (const entry of entries) if (entry.id !== this.self.id && (await this.isLive(entry))) living.push(entry)
    return living
  }

  private async list(): Promise<Entry[]> {
    await this.readClock()
    const numbers = (await this.names()).flatMap((name) => /^(\d+)\.json$/.exec(name)?.[1] ?? [])
    const entries: Entry[] = []
    for (const number of numbers) {
      const entry = await this.read(Number(number))
      if (entry) entries.push(entry)
    }
    return entries
  }

  private names(): Promise<string[]> {
    return readdir(this.folder).catch(() => [])
  }

  /** The process with a number; null if there is no such file. Opening it makes network file systems ask the server. */
  private async read(number: number): Promise<Entry | null> {
    let handle: FileHandle | undefined
    try {
      handle = await open(join(this.folder, fileName(number)), 'r')
      const { mtimeMs } = await handle.stat()
      return { ...(JSON.parse(await handle.readFile('utf8')) as Holder & StudyFacts), writtenAt: mtimeMs }
    } catch (error) {
      // A power cut may leave an empty file on a file system without hard links.
      if (error instanceof SyntaxError || ['ENOENT', 'ESTALE'].includes(errorCode(error) ?? '')) return null
      throw new RunError(`cannot read ${join(this.folder, fileName(number))}: ${(error as Error).message}`)
    } finally {
      await handle?.close()
    }
  }
}

const fileName = (number: number): string => `${number}.json`

/** The facts that processes must have in common to work on one study, and messages about differences. */

export interface StudyFacts {
  /** Version of the numerics. */
  readonly numerics: number
  readonly specification: Specification
  /** Hashes of the texts by source and tokens; null while they are being read. */
  readonly texts: Readonly<Record<string, unknown>> | null
}

export const factsOf = (specification: Specification): StudyFacts => ({
  numerics: NUMERICS,
  // The specification as it is read back from a file, without fields that are undefined.
  specification: JSON.parse(JSON.stringify(specification)) as Specification,
  texts: null,
})

/** The reason why two processes cannot work on one study; null if they can. */
function whyDifferent(ours: StudyFacts, theirs: StudyFacts): string | null {
  if (ours.numerics !== theirs.numerics)
    return `it computes with version ${theirs.numerics} of the numerics, and this program with ${ours.numerics}, so losses differ`
  const [a, b] = [ours.specification, theirs.specification] as const
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])] as (keyof Specification)[]
  const differing = names.filter((name) => !isDeepStrictEqual(a[name], b[name]))
  return differing.length === 0 ? null : `its specification differs in ${joinWords(differing)}`
}

/** The first source whose text differs, quoted; null if no text differs. */
function textDifference({ texts: ours }: StudyFacts, { texts: theirs }: StudyFacts): string | null {
  const differing = Object.keys(ours ?? {}).find(
    (name) => theirs?.[name] !== undefined && !isDeepStrictEqual(ours?.[name], theirs[name]),
  )
  return differing === undefined ? null : JSON.stringify(differing)
}
