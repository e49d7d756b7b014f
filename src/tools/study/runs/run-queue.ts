/**
 * Does the missing runs of a list, a few processes at a time, and saves each record as soon as it is complete. A run is
 * claimed first, because other starts of the study may work on the same list: see `sharing/cell-files.ts`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { RunError, UsageError } from '../../../core/errors.ts'
import { describeModel } from '../../../core/model/describe.ts'
import type { Cell, RunRecord, Specialisation } from '../contract.ts'
import type { TimeLeft } from '../estimate/time-left.ts'
import type { RunName, StudyEvent } from '../events.ts'
import { firstStepOf, isShort, stepsOf } from '../grid/cells.ts'
import type { Grid } from '../grid/grid.ts'
import { fairRule, heldOutLoss } from '../results/held-out.ts'
import type { Ledger } from '../results/ledger.ts'
import { describeMachine } from '../results/provenance.ts'
import { Claim, type SharedCells } from '../sharing/cell-files.ts'
import type { Holder, Processes } from '../sharing/processes.ts'
import { CellFolders } from './cell-folders.ts'
import { type Corpora, corpusOf } from './corpora.ts'
import type { JobResult, JobUpdate, TrainJob } from './job.ts'
import { withThreads } from './timings.ts'
import type { RunJob } from './workers.ts'

/** Number of equal failures in a row, with no run finished, after which the study stops. */
const MAX_FAILURES = 8

/** Shortest and longest interval at which results and claims of other processes are read while this process waits. */
const MIN_PAUSE_MS = 50
const MAX_PAUSE_MS = 2000

/** Time after which the list of runs that this process waits for is reported again, if it has changed. */
const REPEAT_MS = 60_000

export interface RunsContext {
  readonly grid: Grid
  readonly ledger: Ledger
  readonly processes: Processes
  readonly cells: SharedCells
  readonly corpora: ReadonlyMap<string, Corpora>
  readonly directory: string
  /** Number of runs at a time, and of threads of each run. */
  readonly jobs: number
  readonly threads: number
  /** Number of threads when steps are timed, one arm at a time. */
  readonly timingThreads: number
  readonly keepCheckpoints: boolean
  readonly timeLeft: TimeLeft
  readonly run: RunJob
  readonly signal: AbortSignal
  readonly onEvent: (event: StudyEvent) => void
}

interface TrainResult {
  readonly record: RunRecord
  readonly specialisation: Specialisation | null
}

interface Task {
  readonly cell: Cell
  readonly claim: Claim
}

/** The cells without repetitions: one for each key. */
export const distinct = (cells: readonly Cell[]): Cell[] => [...new Map(cells.map((cell) => [cell.key, cell])).values()]

/**
 * The runs of one start of a study. A run that fails is not tried again, neither here nor by another process. A run
 * that failed in an earlier start is tried again, once.
 */
export class RunQueue {
  readonly folders: CellFolders
  private readonly context: RunsContext
  private readonly attempted = new Set<string>()
  private readonly notes = new Set<string>()
  private readonly running = new Set<string>()
  /** Keys of cells that are known to be done: it takes a while to find and check all records of a large study. */
  private readonly done = new Set<string>()
  private taking: Promise<unknown> = Promise.resolve()
  private failures: string[] = []
  private anyFinished: boolean
  /** Stops the other runs when one shows that the study cannot continue. */
  private readonly stop = new AbortController()
  private readonly signal: AbortSignal

  constructor(context: RunsContext) {
    this.context = context
    this.folders = new CellFolders(context.directory, context.keepCheckpoints)
    this.anyFinished = this.hasFinished(context.grid.cells)
    this.signal = AbortSignal.any([context.signal, this.stop.signal])
  }

  /** Cells that are not done and that this start has not attempted; cells that failed earlier come last. */
  remaining(cells: readonly Cell[]): Cell[] {
    const isNew = ({ key, config }: Cell) => this.context.ledger.find(key, config) === undefined
    const undone = distinct(cells).filter((cell) => !this.isDone(cell) && !this.attempted.has(cell.key))
    return [...undone.filter(isNew), ...undone.filter((cell) => !isNew(cell))]
  }

  /**
   * Does the runs of these cells. Returns when all are done, here or by other processes.
   * @param flopsLeft Model FLOPs of all remaining runs of the study, for events.
   * @param later Runs of later phases, for the time left.
   * @throws RunError when every run fails in the same way
   */
  async runAll(cells: readonly Cell[], flopsLeft: number, later: readonly Cell[]): Promise<void> {
    const { jobs } = this.context
    this.anyFinished ||= this.hasFinished(cells)
    const after = flopsLeft - totalFlops(this.remaining(cells))
    const work = async () => {
      for (;;) {
        const task = await this.next(cells)
        if (!task || !(await this.run(task, cells, after, later))) return
      }
    }
    await allSettled(Array.from({ length: jobs }, work), () => this.stop.abort())
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
    timeLeft.plan([...this.remaining(cells), ...this.runningOf(cells)], later, 1 + (await processes.others()).length)
    timeLeft.begin(cell)
    const directory = await this.folders.toRun(cell)
    const result = await this.train(cell, directory)
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
    await claim.finish(stored)
    await ledger.put(stored)
    if (record.status === 'finished') {
      const longer = cells.find((other) => other.branch?.after?.key === cell.key && !this.isDone(other))
      await this.folders.removeLeftovers(cell, directory, longer)
    }
    // The run counts as done only now: if two runs end together, each event adds one.
    this.running.delete(cell.key)
    const all = distinct(cells)
    const left = [...this.remaining(cells), ...this.runningOf(all)]
    const place = { finished: all.length - left.length, runs: all.length, flopsLeft: flopsAfter + totalFlops(left) }
    onEvent({
      kind: 'end',
      ...nameOf(cell),
      record,
      loss: heldOutLoss(record, fairRule([cell.config], grid.capacity)),
      ...place,
      secondsLeft: timeLeft.seconds(),
    })
    this.stopIfAllFail(record)
    return true
  }

  private runningOf(cells: readonly Cell[]): Cell[] {
    return distinct(cells).filter(({ key }) => this.running.has(key))
  }

  /** A run that fails at another process is not tried again here. */
  private noteOthers(records: readonly RunRecord[]): void {
    for (const { status, key } of records)
      if (status === 'failed') this.attempted.add(key)
      else this.anyFinished = true
  }

  private hasFinished(cells: readonly Cell[]): boolean {
    return cells.some(({ key, config }) => this.context.ledger.find(key, config)?.status === 'finished')
  }

  private isDone({ key, config }: Cell): boolean {
    const { ledger, grid } = this.context
    if (this.done.has(key)) return true
    const hasSpecialisation = !grid.specialised.has(key) || ledger.specialisations.some((found) => found.key === key)
    if (!hasSpecialisation || ledger.find(key, config)?.status !== 'finished') return false
    this.done.add(key)
    return true
  }

  private async train(cell: Cell, directory: string): Promise<TrainResult | null> {
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
      result = await run(job, this.signal, (update) => this.onUpdate(cell, update))
    } catch (error) {
      if (this.signal.aborted) return null
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

  private stopIfAllFail(record: RunRecord): void {
    if (record.status === 'finished') this.anyFinished = true
    this.failures = record.status === 'failed' ? [...this.failures, record.error] : []
    const last = this.failures.slice(-MAX_FAILURES)
    // Errors that differ only in paths and numbers are equal.
    const withoutDetails = (error: string) =>
      error.replace(/\S+/g, (word) => (/[\\/]/.test(word) ? '' : word.replace(/\d+/g, '')))
    const kinds = new Set(last.map(withoutDetails))
    if (last.length === MAX_FAILURES && kinds.size === 1 && !this.anyFinished)
      throw new RunError(`the last ${MAX_FAILURES} runs failed in the same way: ${last[0]}`)
  }
}

/** Model FLOPs of trainings, with nothing dropped. */
export const totalFlops = (cells: readonly Cell[]): number => cells.reduce((total, cell) => total + flopsOf(cell), 0)

const flopsOf = (cell: Cell): number => {
  const { model, train } = cell.config
  const steps = stepsOf(cell) - firstStepOf(cell)
  return describeModel(model).flopsPerToken * steps * train.batch * model.sequence
}

const nameOf = ({ arm, seed, rate, config, branch }: Cell): RunName => ({
  arm,
  seed,
  rate,
  ...(branch && { branchSteps: config.train.steps }),
  ...(rate !== 'common' && { learningRate: config.train.schedule.learningRate }),
})

/** Waits for all, even if one fails, then throws the first failure. */
async function allSettled(works: readonly Promise<void>[], onFailure: () => void): Promise<void> {
  for (const work of works) work.catch(onFailure)
  const failed = (await Promise.allSettled(works)).find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
