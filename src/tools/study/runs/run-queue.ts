/**
 * Does the missing runs of a list, a few processes at a time, and saves each record as soon as it is complete. A run is
 * claimed first, because other starts of the study may work on the same list: see `results/cell-files.ts`.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { Cell, RunRecord, Specialisation } from '../contract.ts'
import type { RunName } from '../events.ts'
import { distinctCells, flopsOf, isShort, totalFlops } from '../grid/cells.ts'
import { fairRule, heldOutLoss } from '../held-out.ts'
import { Claim } from '../results/cell-files.ts'
import type { Holder } from '../results/processes.ts'
import { describeMachine } from '../results/record.ts'
import { corpusOf } from './corpora.ts'
import type { JobResult, JobUpdate, TrainJob } from './job.ts'
import { CellFolders } from './run-folder.ts'
import type { RunsContext } from './runs-context.ts'
import { withThreads } from './timings.ts'

/** Shortest and longest interval at which results and claims of other processes are read while this process waits. */
const MIN_PAUSE_MS = 50
const MAX_PAUSE_MS = 2000

/** Time after which the list of runs that this process waits for is reported again, if it has changed. */
const REPEAT_MS = 60_000

interface Task {
  readonly cell: Cell
  readonly claim: Claim
}

/**
 * The runs of one start of a study. A run that fails is not tried again, neither here nor by another process. A run
 * that failed in an earlier start is tried again, once.
 */
export class RunQueue {
  readonly folders: CellFolders
  private readonly context: RunsContext
  private readonly training: CellTraining
  private readonly attempted = new Set<string>()
  private readonly running = new Set<string>()
  /** Keys of cells that are known to be done: it takes a while to find and check all records of a large study. */
  private readonly done = new Set<string>()
  private taking: Promise<unknown> = Promise.resolve()
  private readonly failures = new EqualFailures()
  /** Stops the other runs when one shows that the study cannot continue. */
  private readonly stop = new AbortController()
  private readonly signal: AbortSignal

  constructor(context: RunsContext) {
    this.context = context
    this.folders = new CellFolders(context.directory, context.keepCheckpoints)
    this.training = new CellTraining(context, this.folders)
    this.noteFinished(context.grid.cells)
    this.signal = AbortSignal.any([context.signal, this.stop.signal])
  }

  /** Cells that are not done and that this start has not attempted; cells that failed earlier come last. */
  remaining(cells: readonly Cell[]): Cell[] {
    const isNew = ({ key, config }: Cell) => this.context.ledger.find(key, config) === undefined
    const undone = distinctCells(cells).filter((cell) => !this.isDone(cell) && !this.attempted.has(cell.key))
    return [...undone.filter(isNew), ...undone.filter((cell) => !isNew(cell))]
  }

  /** Cells that are not done, nor failed: those that remain, and those that run here. */
  unfinished(cells: readonly Cell[]): Cell[] {
    return [...this.remaining(cells), ...distinctCells(cells).filter(({ key }) => this.running.has(key))]
  }

  /**
   * Does the runs of these cells. Returns when all are done, here or by other processes.
   * @param flopsLeft Model FLOPs of all remaining runs of the study, for events.
   * @param later Runs of later phases, for the time left.
   * @param onEnd Called after each run.
   * @throws RunError when every run fails in the same way
   */
  async runAll(
    cells: readonly Cell[],
    flopsLeft: number,
    later: readonly Cell[],
    onEnd?: () => Promise<void>,
  ): Promise<void> {
    const { jobs } = this.context
    this.noteFinished(cells)
    const after = flopsLeft - totalFlops(this.remaining(cells))
    const work = async () => {
      for (;;) {
        const task = await this.next(cells)
        if (!task || !(await this.run(task, cells, after, later))) return
        await onEnd?.()
      }
    }
    await allSettled(Array.from({ length: jobs }, work), () => this.stop.abort())
  }

  /** Removes the checkpoints of finished runs that a start left which was killed after it kept a result. */
  async removeLeftovers(cells: readonly Cell[]): Promise<void> {
    for (const cell of distinctCells(cells).filter((one) => this.isDone(one))) {
      const directory = await this.folders.leftoversOf(cell)
      if (directory !== null) await this.folders.removeLeftovers(cell, directory, this.longer(cell, cells))
    }
  }

  /** Reads the results of other processes. */
  async refresh(): Promise<void> {
    this.noteOthers(await this.context.ledger.refresh())
  }

  /** Claims a run, or waits until there is one to claim; null when all are done. Workers claim one after the other. */
  private next(cells: readonly Cell[]): Promise<Task | null> {
    const taken = this.taking.catch(() => {}).then(() => this.take(cells))
    this.taking = taken
    return taken
  }

  private async take(cells: readonly Cell[]): Promise<Task | null> {
    let shown = ''
    let shownAt = Number.NEGATIVE_INFINITY
    for (let pause = MIN_PAUSE_MS; !this.signal.aborted; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      await this.refresh()
      const held: { readonly cell: Cell; readonly holder: Holder }[] = []
      for (const cell of this.remaining(cells)) {
        if (this.signal.aborted) return null
        if (!this.isReady(cell)) continue
        const claim = await this.context.cells.claim(cell.key, (news) => {
          this.noteOthers(this.context.ledger.absorb(news))
          return this.remaining([cell]).length > 0
        })
        if (claim instanceof Claim) {
          this.attempted.add(cell.key)
          return { cell, claim }
        }
        if (claim) held.push({ cell, holder: claim })
      }
      if (held.length === 0) return null
      const list = held.map(({ cell }) => cell.key).join()
      if (this.running.size === 0 && list !== shown && performance.now() - shownAt > REPEAT_MS) {
        const { processes, onEvent } = this.context
        const runs = held.map(({ cell, holder }) => ({ ...nameOf(cell), by: processes.nameOf(holder) }))
        onEvent({ kind: 'waiting', runs })
        shown = list
        shownAt = performance.now()
      }
      await delay(pause, undefined, { signal: this.signal }).catch(() => {})
    }
    return null
  }

  /**
   * Whether a cell need not wait for a shorter branch that it continues: that branch is done or has failed. So the
   * branches of an arm and a seed are trained one after the other. Because the list has them in a row, a chain is ended
   * before another is begun. Cells that wait for a run of this process are done by the worker that has that run.
   */
  private isReady({ branch }: Cell): boolean {
    const after = branch?.after
    return !after || (this.remaining([after]).length === 0 && !this.running.has(after.key))
  }

  /**
   * Does a claimed run. Returns whether the worker goes on.
   * @param flopsAfter Model FLOPs of the study after `cells`.
   */
  private async run(
    { cell, claim }: Task,
    cells: readonly Cell[],
    flopsAfter: number,
    later: readonly Cell[],
  ): Promise<boolean> {
    const { ledger, grid, processes, timeLeft, onEvent } = this.context
    this.running.add(cell.key)
    timeLeft.plan(this.unfinished(cells), later, 1 + (await processes.others()).length)
    timeLeft.begin(cell)
    const directory = await this.folders.toRun(cell)
    const result = await this.training.train(cell, directory, this.signal)
    timeLeft.end(cell)
    if (!result) {
      this.running.delete(cell.key)
      await claim.release()
      return false
    }
    const { record } = result
    const stored = { ...result, machine: describeMachine() }
    // The result is first written to the file of the cell, which only this process writes. Several processes write
    // results.json.gz.
    if (record.status === 'finished') await this.folders.markLeftovers(cell, directory)
    await claim.finish(stored)
    await ledger.put(stored)
    if (record.status === 'finished') await this.folders.removeLeftovers(cell, directory, this.longer(cell, cells))
    // The run counts as done only now: if two runs end together, each event adds one.
    this.running.delete(cell.key)
    const left = this.unfinished(cells)
    const runs = distinctCells(cells).length
    const place = { finished: runs - left.length, runs, flopsLeft: flopsAfter + totalFlops(left) }
    onEvent({
      kind: 'end',
      ...nameOf(cell),
      record,
      loss: heldOutLoss(record, fairRule([cell.config], grid.capacity)),
      ...place,
      secondsLeft: timeLeft.seconds(),
    })
    this.failures.note(record)
    return true
  }

  /** The branch among `cells` that will continue a cell; undefined if no branch will. */
  private longer({ key }: Cell, cells: readonly Cell[]): Cell | undefined {
    return cells.find((other) => other.branch?.after?.key === key && !this.isDone(other))
  }

  /** A run that fails at another process is not tried again here. */
  private noteOthers(records: readonly RunRecord[]): void {
    for (const { status, key } of records)
      if (status === 'failed') this.attempted.add(key)
      else this.failures.noteFinished()
  }

  private noteFinished(cells: readonly Cell[]): void {
    if (cells.some(({ key, config }) => this.context.ledger.find(key, config)?.status === 'finished'))
      this.failures.noteFinished()
  }

  private isDone({ key, config }: Cell): boolean {
    const { ledger, grid } = this.context
    if (this.done.has(key)) return true
    const hasSpecialisation = !grid.specialised.has(key) || ledger.specialisations.some((found) => found.key === key)
    if (!hasSpecialisation || ledger.find(key, config)?.status !== 'finished') return false
    this.done.add(key)
    return true
  }
}

/** Waits for all, even if one fails, then throws the first failure. */
async function allSettled(works: readonly Promise<void>[], onFailure: () => void): Promise<void> {
  for (const work of works) work.catch(onFailure)
  const failed = (await Promise.allSettled(works)).find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}

/** Trains one cell in another process: the job of the cell, the events of its training, and its record, also of a failure. */

interface TrainResult {
  readonly record: RunRecord
  readonly specialisation: Specialisation | null
}

/** Trains the cells of one start of a study. A message that several runs give is reported once. */
export class CellTraining {
  private readonly context: RunsContext
  private readonly folders: CellFolders
  private readonly notes = new Set<string>()

  constructor(context: RunsContext, folders: CellFolders) {
    this.context = context
    this.folders = folders
  }

  /** Trains a cell. A run that fails has a record too; null if it was stopped. */
  async train(cell: Cell, directory: string, signal: AbortSignal): Promise<TrainResult | null> {
    const { key, seed, config } = cell
    const { grid, threads, run, onEvent } = this.context
    onEvent({ kind: 'begin', ...nameOf(cell), flops: flopsOf(cell) })
    const corpora = this.context.corpora.get(corpusOf(config))
    const isTrial = isShort(cell)
    const job: TrainJob = {
      kind: 'train',
      key,
      arm: cell.arm,
      seed,
      config: withThreads(config, threads),
      directory,
      corpus: corpora?.own ?? '',
      elsewhere: isTrial ? {} : (corpora?.elsewhere ?? {}),
      specialise: grid.specialised.has(key),
      trial: isTrial,
      until: cell.budget?.steps,
      trunk: await this.folders.trunkOf(cell),
    }
    let result: JobResult
    try {
      result = await run(job, signal, (update) => this.onUpdate(cell, update))
    } catch (error) {
      if (signal.aborted) return null
      if (!(error instanceof UsageError || error instanceof RunError)) throw error
      const line = error.message.split('\n')[0] ?? ''
      return { record: { status: 'failed', key, seed, config, error: line }, specialisation: null }
    }
    if (result.kind !== 'record') return null
    // Record the configuration of the arm, without the threads of this process.
    return { record: { ...result.record, config }, specialisation: result.specialisation }
  }

  private onUpdate(cell: Cell, update: JobUpdate): void {
    if (update.kind === 'progress') {
      const { pace, ...progress } = update
      const { timeLeft } = this.context
      timeLeft.update(cell, update.step, update.activity, pace)
      this.context.onEvent({ ...progress, secondsLeft: timeLeft.seconds(), ...nameOf(cell) })
    } else if (!this.notes.has(update.message)) {
      this.notes.add(update.message)
      this.context.onEvent({ kind: 'note', message: `${cell.arm}, seed ${cell.seed}: ${update.message}` })
    }
  }
}

/** The fields by which events name a run. */
const nameOf = ({ arm, seed, rate, config, branch }: Cell): RunName => ({
  arm,
  seed,
  rate,
  ...(branch && { branchSteps: config.train.steps }),
  ...(rate !== 'common' && { learningRate: config.train.schedule.learningRate }),
})

/** Ends a study in which every run fails in the same way, for example because its text or its device is missing. */

/** Number of equal failures in a row, with no run finished, after which the study stops. */
const MAX_FAILURES = 8

/** The failures of the last runs, in a row. */
export class EqualFailures {
  private errors: string[] = []
  private anyFinished = false

  /** Notes that a run of the study finished, here or elsewhere: it can continue whatever fails. */
  noteFinished(): void {
    this.anyFinished = true
  }

  /** @throws RunError if the last runs failed in the same way, and none has finished */
  note(record: RunRecord): void {
    if (record.status === 'finished') this.noteFinished()
    this.errors = record.status === 'failed' ? [...this.errors, record.error] : []
    const last = this.errors.slice(-MAX_FAILURES)
    const kinds = new Set(last.map(withoutDetails))
    if (last.length === MAX_FAILURES && kinds.size === 1 && !this.anyFinished)
      throw new RunError(`the last ${MAX_FAILURES} runs failed in the same way: ${last[0]}`)
  }
}

/** Errors that differ only in paths and numbers are equal. */
const withoutDetails = (error: string): string =>
  error.replace(/\S+/g, (word) => (/[\\/]/.test(word) ? '' : word.replace(/\d+/g, '')))
