/**
 * All runs below the given folders, kept up to date. One loop looks for new runs, lets each run in turn read a part of
 * its new data, and reports changes. It relies only on `stat` and reads, so it works on network file systems, which
 * have no change notifications.
 */
import { randomInt } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { errorCode } from '../../../node/system/disk.ts'
import type { Change, Collection, RunSummary } from '../api.ts'
import { type Discovered, Discovery } from './discovery.ts'
import { MAX_RUN_MEMORY, readerOf, realFolder } from './open.ts'
import type { PolledRun, WatchedRun } from './run.ts'
import { withVariedSettings } from './study-names.ts'
import { TraceReader } from './trace-reader.ts'

export type { WatchedRun } from './run.ts'

/** Interval between polls of a run that is being written. */
const POLL_MS = 500
/** Other runs are polled, and new runs looked for, this many times less often. */
const SLOW_FACTOR = 4
/** Shortest time between notifications of listeners. */
const NOTIFY_MS = 500
/** Longest wait for reads when the collection is closed. */
const CLOSE_MS = 500
/** Runs polled concurrently: on a network file system polls mostly wait. */
const CONCURRENT_POLLS = 8
/** Limit of the bytes for loads of experts, of all runs. */
const MAX_MEMORY = 1 << 30

interface Watched {
  readonly run: PolledRun
  /** Time of the next poll on the monotonic clock, in milliseconds. */
  due: number
  /** An internal error while polling this run; the other runs go on. */
  failure?: string
}

export class WatchedCollection {
  private readonly displayRoots: readonly string[]
  private readonly roots: readonly string[]
  private readonly pollMs: number
  private readonly discovery = new Discovery()
  private readonly runs = new Map<string, Watched>()
  private readonly listeners = new Set<(change: Change) => void>()
  private readonly dirty = new Set<string>()
  /** It starts at random, so that a page of an earlier server does not take a version for one that it knows. */
  private version = randomInt(2 ** 31)
  private lastNotified = -NOTIFY_MS
  private discoveryDue = 0
  private readonly closing = new AbortController()
  private wake: () => void = () => {}
  private readonly loop: Promise<void>

  private constructor(displayRoots: readonly string[], roots: readonly string[], pollMs: number) {
    this.displayRoots = displayRoots
    this.roots = roots
    this.pollMs = pollMs
    this.loop = this.keepUp()
  }

  /**
   * Returns at once and reads files in the background ({@link describe} has the progress). The caller must close it.
   * @param roots Run directories, or folders with run directories below.
   * @throws UsageError for a folder that does not exist or cannot be read
   */
  static async open(
    roots: readonly string[],
    { pollMs = POLL_MS }: { readonly pollMs?: number } = {},
  ): Promise<WatchedCollection> {
    return new WatchedCollection([...roots], await Promise.all(roots.map(realFolder)), pollMs)
  }

  describe(): Collection {
    const runs = withVariedSettings([...this.runs.values()].map(summaryOf))
    const progresses = [...this.runs.values()].flatMap(({ run, failure }) => (failure ? [] : (run.progress ?? [])))
    const isReading = progresses.length > 0 || this.discoveryDue === 0
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
    return {
      version: this.version,
      roots: this.displayRoots,
      runs: runs.toSorted((a, b) => order.compare(a.name, b.name) || (a.id < b.id ? -1 : 1)),
      progress: isReading
        ? { done: sum(progresses.map(({ done }) => done)), of: sum(progresses.map(({ of }) => of)) }
        : null,
    }
  }

  run(id: string): WatchedRun | undefined {
    return this.runs.get(id)?.run
  }

  /** @returns a function that removes the listener */
  onChange(listener: (change: Change) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.closing.abort()
    this.listeners.clear()
    this.wake()
    // A network file system may not answer; then the loop ends later.
    await Promise.race([this.loop, delay(CLOSE_MS, undefined, { ref: false })])
  }

  private get isClosed(): boolean {
    return this.closing.signal.aborted
  }

  private async keepUp(): Promise<void> {
    while (!this.isClosed) {
      if (performance.now() >= this.discoveryDue) await this.discover()
      const isBehind = await this.pollDue()
      this.notify()
      await this.pause(isBehind ? 0 : this.pollMs)
    }
  }

  private async discover(): Promise<void> {
    const found = await this.discovery.find(this.roots, this.closing.signal)
    for (const each of found) {
      const known = this.runs.get(each.id)?.run
      if (known && !isReplaced(known, each)) continue
      this.runs.set(each.id, { run: readerOf(each), due: 0 })
      this.mark(each.id)
    }
    const ids = new Set(found.map(({ id }) => id))
    for (const [id, { run }] of this.runs) {
      if (this.isClosed) return
      if (ids.has(id) || !(this.discovery.isComplete || (await isGone(run.directory)))) continue
      this.runs.delete(id)
      this.mark(id)
    }
    const memory = Math.min(MAX_RUN_MEMORY, MAX_MEMORY / Math.max(1, this.runs.size))
    for (const { run } of this.runs.values()) run.limit(memory)
    this.discoveryDue = performance.now() + SLOW_FACTOR * this.pollMs
  }

  /** @returns whether some run still has data to read */
  private async pollDue(): Promise<boolean> {
    const due = [...this.runs.values()].filter((watched) => watched.due <= performance.now())
    let isAnyBehind = false
    const work = async (): Promise<void> => {
      for (let watched = due.shift(); watched && !this.isClosed; watched = due.shift()) {
        isAnyBehind = (await this.poll(watched)) || isAnyBehind
        this.notify()
      }
    }
    await Promise.all(Array.from({ length: CONCURRENT_POLLS }, work))
    return isAnyBehind
  }

  private async poll(watched: Watched): Promise<boolean> {
    try {
      const { isChanged, isBehind, isRunning } = await watched.run.poll(this.closing.signal)
      if (isChanged) this.mark(watched.run.id)
      watched.due = isBehind ? 0 : performance.now() + this.pollMs * (isRunning ? 1 : SLOW_FACTOR) - 1
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

  private notify(): void {
    if (this.dirty.size === 0 || this.isClosed || performance.now() - this.lastNotified < NOTIFY_MS) return
    this.lastNotified = performance.now()
    const change: Change = { version: this.version, runs: [...this.dirty] }
    this.dirty.clear()
    for (const listener of this.listeners) listener(change)
  }

  /** Waits, or returns early when the collection is closed. */
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

/** Sorts by name, and numbers in names by value. */
const order = new Intl.Collator('en', { numeric: true })

function summaryOf({ run, failure }: Watched): RunSummary {
  const summary = run.summary()
  return failure === undefined ? summary : { ...summary, state: 'unreadable', problem: failure, reading: false }
}

/** Whether the folder now holds another kind of run, or a trace with other files. */
const isReplaced = (known: PolledRun, found: Discovered): boolean =>
  known.kind !== found.kind ||
  (known instanceof TraceReader && found.kind === 'trace' && known.files.join('\n') !== found.files.join('\n'))

/** Whether a folder is certainly gone: a network file system may fail to answer. */
const isGone = (folder: string): Promise<boolean> =>
  stat(folder).then(
    () => false,
    (error: unknown) => errorCode(error) === 'ENOENT',
  )
