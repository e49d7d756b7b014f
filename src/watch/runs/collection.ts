/**
 * All runs below the folders that were named, kept up to date. One loop looks for new runs, asks each run in its turn
 * to read a part of what is new, and tells what changed. It only ever asks files how they are and reads them, which
 * works on network file systems too, where nobody is told of changes.
 */
import { randomInt } from 'node:crypto'
import { readdir, realpath, stat } from 'node:fs/promises'
import { UsageError } from '../../errors.ts'
import { errorCode } from '../../system/disk.ts'
import type { Change, Collection, RunSummary } from '../api.ts'
import { TraceReader } from '../router-traces/trace-reader.ts'
import { type Discovered, Discovery } from './discovery.ts'
import type { PolledRun, WatchedRun } from './run.ts'
import { RunDirectoryReader } from './run-directory-reader.ts'

export type { WatchedRun } from './run.ts'

/** Milliseconds between looks at a run that is written, at the others and at folders, and between tellings. */
const POLL = 500
const SLOWER = 4
const TELL = 500
/** Runs that are polled at the same time: on a network file system most of it is waiting. */
const AT_ONCE = 8
/** Bytes that loads of experts may take in all, and of a run. */
const MEMORY = 1 << 30
const MEMORY_OF_RUN = 128 << 20

interface Watched {
  readonly run: PolledRun
  /** When to look at it next, by a clock that nobody sets. */
  due: number
  /** A bug of ours that this run brought to light; the others go on. */
  failure?: string
}

export class WatchedCollection {
  private readonly given: readonly string[]
  private readonly roots: readonly string[]
  private readonly pollMs: number
  private readonly discovery = new Discovery()
  private readonly runs = new Map<string, Watched>()
  private readonly listeners = new Set<(change: Change) => void>()
  private readonly dirty = new Set<string>()
  /** Begins anywhere: pages that a server before this one served do not take its numbers for known. */
  private version = randomInt(2 ** 31)
  private lastTold = -TELL
  private discoveryDue = 0
  private isClosed = false
  private wake: () => void = () => {}
  private readonly loop: Promise<void>

  private constructor(given: readonly string[], roots: readonly string[], pollMs: number) {
    this.given = given
    this.roots = roots
    this.pollMs = pollMs
    this.loop = this.keepUp()
  }

  /**
   * Comes back at once; files are read from then on ({@link describe} tells the progress). Close it in the end.
   * @param roots Run directories, or folders with some below.
   * @throws UsageError for a folder that is not there or cannot be read
   */
  static async open(
    roots: readonly string[],
    { pollMs = POLL }: { readonly pollMs?: number } = {},
  ): Promise<WatchedCollection> {
    return new WatchedCollection([...roots], await Promise.all(roots.map(realFolder)), pollMs)
  }

  describe(): Collection {
    const runs = [...this.runs.values()].map(summaryOf)
    const progresses = [...this.runs.values()].flatMap(({ run, failure }) => (failure ? [] : (run.progress ?? [])))
    const isReading = progresses.length > 0 || this.discoveryDue === 0
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
    return {
      version: this.version,
      roots: this.given,
      runs: runs.sort((a, b) => order.compare(a.name, b.name) || (a.id < b.id ? -1 : 1)),
      progress: isReading
        ? { done: sum(progresses.map(({ done }) => done)), of: sum(progresses.map(({ of }) => of)) }
        : null,
    }
  }

  run(id: string): WatchedRun | undefined {
    return this.runs.get(id)?.run
  }

  /** Returns how to stop listening. */
  onChange(listener: (change: Change) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.isClosed = true
    this.listeners.clear()
    this.wake()
    await this.loop
  }

  private async keepUp(): Promise<void> {
    while (!this.isClosed) {
      if (performance.now() >= this.discoveryDue) await this.discover()
      const isBehind = await this.pollDue()
      this.tell()
      await this.pause(isBehind ? 0 : this.pollMs)
    }
  }

  private async discover(): Promise<void> {
    const found = await this.discovery.find(this.roots)
    for (const each of found) {
      const known = this.runs.get(each.id)?.run
      if (known && !isOther(known, each)) continue
      this.runs.set(each.id, { run: readerOf(each), due: 0 })
      this.mark(each.id)
    }
    const ids = new Set(found.map(({ id }) => id))
    for (const [id, { run }] of this.runs) {
      if (ids.has(id) || !(this.discovery.isComplete || (await isGone(run.directory)))) continue
      this.runs.delete(id)
      this.mark(id)
    }
    const memory = Math.min(MEMORY_OF_RUN, MEMORY / Math.max(1, this.runs.size))
    for (const { run } of this.runs.values()) run.limit(memory)
    this.discoveryDue = performance.now() + SLOWER * this.pollMs
  }

  /** @returns whether some run has more to read at once. */
  private async pollDue(): Promise<boolean> {
    const due = [...this.runs.values()].filter((watched) => watched.due <= performance.now())
    let isSomeBehind = false
    const work = async (): Promise<void> => {
      for (let watched = due.shift(); watched && !this.isClosed; watched = due.shift()) {
        isSomeBehind = (await this.poll(watched)) || isSomeBehind
        this.tell()
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    return isSomeBehind
  }

  private async poll(watched: Watched): Promise<boolean> {
    try {
      const { isChanged, isBehind, isRunning } = await watched.run.poll()
      if (isChanged) this.mark(watched.run.id)
      watched.due = isBehind ? 0 : performance.now() + this.pollMs * (isRunning ? 1 : SLOWER) - 1
      return isBehind
    } catch (error) {
      watched.failure = `internal: ${error instanceof Error ? error.message : String(error)}`
      watched.due = Number.POSITIVE_INFINITY
      this.mark(watched.run.id)
      return false
    }
  }

  private mark(id: string): void {
    this.version++
    this.dirty.add(id)
  }

  private tell(): void {
    if (this.dirty.size === 0 || this.isClosed || performance.now() - this.lastTold < TELL) return
    this.lastTold = performance.now()
    const change: Change = { version: this.version, runs: [...this.dirty] }
    this.dirty.clear()
    for (const listener of this.listeners) listener(change)
  }

  /** Until it is time again, or the collection is closed. */
  private pause(milliseconds: number): Promise<void> {
    if (this.isClosed) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** By name, with numbers in the order of their values. */
const order = new Intl.Collator('en', { numeric: true })

function summaryOf({ run, failure }: Watched): RunSummary {
  const summary = run.summary()
  return failure === undefined ? summary : { ...summary, state: 'unreadable', problem: failure, reading: false }
}

const readerOf = (found: Discovered): PolledRun =>
  found.kind === 'choir' ? new RunDirectoryReader(found) : new TraceReader(found, found.files)

/** A folder in which something else lies now: a run where a trace was, or the trace of more ranks. */
const isOther = (known: PolledRun, found: Discovered): boolean =>
  known.kind !== found.kind ||
  (known instanceof TraceReader && found.kind === 'trace' && known.files.join('\n') !== found.files.join('\n'))

/** Only where that is certain: a network file system may not answer. */
const isGone = (folder: string): Promise<boolean> =>
  stat(folder).then(
    () => false,
    (error: unknown) => errorCode(error) === 'ENOENT',
  )

async function realFolder(root: string): Promise<string> {
  try {
    const real = await realpath(root)
    await readdir(real)
    return real
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason =
      code === 'ENOENT'
        ? 'there is no such folder'
        : code === 'ENOTDIR'
          ? 'it is a file'
          : `it cannot be read: ${message}`
    throw new UsageError(
      `cannot watch ${JSON.stringify(root)}: ${reason} (expected a run directory, or a folder with runs below)`,
    )
  }
}
