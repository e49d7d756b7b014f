/** Does the missing runs of a list, a few processes at a time, and saves each record as soon as it is complete. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../config/run-config.ts'
import { RunError, UsageError } from '../../errors.ts'
import { describeModel } from '../../model/describe.ts'
import type { Cell, RunRecord, Specialisation } from '../contract.ts'
import type { RunName, StudyEvent } from '../events.ts'
import type { Grid } from '../grid/grid.ts'
import { heldOutLoss } from '../results/held-out.ts'
import type { Ledger } from '../results/ledger.ts'
import { type Corpora, corpusOf } from './corpora.ts'
import type { JobResult, JobUpdate, TrainJob } from './job.ts'
import { withThreads } from './timings.ts'
import type { RunJob } from './workers.ts'

/** After this many equal failures in a row, with no run finished, the study stops. */
const MAX_FAILURES = 8

export interface RunsContext {
  readonly grid: Grid
  readonly ledger: Ledger
  readonly corpora: ReadonlyMap<string, Corpora>
  readonly directory: string
  /** Runs at a time, and threads of each. */
  readonly jobs: number
  readonly threads: number
  readonly keepCheckpoints: boolean
  readonly run: RunJob
  readonly signal: AbortSignal
  readonly onEvent: (event: StudyEvent) => void
}

interface TrainResult {
  readonly record: RunRecord
  readonly specialisation: Specialisation | null
}

/** One cell per configuration. */
export const distinct = (cells: readonly Cell[]): Cell[] => [...new Map(cells.map((cell) => [cell.key, cell])).values()]

/** The runs of one start of a study. A run that fails is not retried; one that failed in an earlier start is, once. */
export class RunQueue {
  private readonly context: RunsContext
  private readonly attempted = new Set<string>()
  private readonly notes = new Set<string>()
  private failures: string[] = []
  private anyFinished: boolean
  /** Stops the other runs when one shows that the study cannot continue. */
  private readonly stop = new AbortController()
  private readonly signal: AbortSignal

  constructor(context: RunsContext) {
    this.context = context
    this.anyFinished = this.hasFinished(context.grid.cells)
    this.signal = AbortSignal.any([context.signal, this.stop.signal])
  }

  /** Cells without a finished record that this start has not attempted; those that failed earlier come last. */
  remaining(cells: readonly Cell[]): Cell[] {
    const isNew = ({ key, config }: Cell) => this.context.ledger.find(key, config) === undefined
    const undone = distinct(cells).filter((cell) => !this.isDone(cell) && !this.attempted.has(cell.key))
    return [...undone.filter(isNew), ...undone.filter((cell) => !isNew(cell))]
  }

  /** @throws RunError when every run fails in the same way */
  async runAll(cells: readonly Cell[]): Promise<void> {
    const { jobs, ledger, grid, onEvent } = this.context
    const runs = distinct(cells).length
    const left = this.remaining(cells)
    let finished = runs - left.length
    this.anyFinished ||= this.hasFinished(cells)
    const queue = left.values()
    const work = async () => {
      for (const cell of queue) {
        if (this.signal.aborted) return
        this.attempted.add(cell.key)
        const result = await this.train(cell)
        if (!result) return
        const { record, specialisation } = result
        await ledger.put(record, specialisation)
        await this.removeCheckpoints(cell, record)
        finished++
        onEvent({ kind: 'end', ...nameOf(cell), record, loss: heldOutLoss(record, grid.capacity), finished, runs })
        this.stopIfAllFail(record)
      }
    }
    await allSettled(Array.from({ length: jobs }, work), () => this.stop.abort())
  }

  private hasFinished(cells: readonly Cell[]): boolean {
    return cells.some(({ key, config }) => this.context.ledger.find(key, config)?.status === 'finished')
  }

  private isDone({ key, config }: Cell): boolean {
    const { ledger, grid } = this.context
    const hasSpecialisation = !grid.specialised.has(key) || ledger.specialisations.some((found) => found.key === key)
    return ledger.find(key, config)?.status === 'finished' && hasSpecialisation
  }

  private async train(cell: Cell): Promise<TrainResult | null> {
    const { key, seed, config } = cell
    const { grid, threads, run, onEvent } = this.context
    onEvent({ kind: 'begin', ...nameOf(cell), flops: flopsOf(cell) })
    const corpora = this.context.corpora.get(corpusOf(config))
    const isTrial = cell.rate === 'trial'
    const job: TrainJob = {
      kind: 'train',
      key,
      seed,
      config: withThreads(config, threads),
      directory: this.directoryOf(cell),
      corpus: corpora?.own ?? '',
      elsewhere: isTrial ? {} : (corpora?.elsewhere ?? {}),
      specialise: grid.specialised.has(key),
      trial: isTrial,
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

  private directoryOf(cell: Cell): string {
    return join(this.context.directory, cell.rate === 'trial' ? 'trials' : 'runs', folderOf(cell))
  }

  /** Deletes checkpoints once the record is saved. On some systems that may fail for a while, which does no harm. */
  private async removeCheckpoints(cell: Cell, { status }: RunRecord): Promise<void> {
    if (status !== 'finished' || this.context.keepCheckpoints) return
    await rm(join(this.directoryOf(cell), 'checkpoints'), { recursive: true, force: true }).catch(() => {})
  }

  private onUpdate(cell: Cell, update: JobUpdate): void {
    if (update.kind === 'progress') this.context.onEvent({ ...update, ...nameOf(cell) })
    else if (!this.notes.has(update.message)) {
      this.notes.add(update.message)
      this.context.onEvent({ kind: 'note', message: `${cell.arm}, seed ${cell.seed}: ${update.message}` })
    }
  }

  private stopIfAllFail(record: RunRecord): void {
    if (record.status === 'finished') this.anyFinished = true
    this.failures = record.status === 'failed' ? [...this.failures, record.error] : []
    const last = this.failures.slice(-MAX_FAILURES)
    // Errors that differ only in paths and numbers are equal.
    const kinds = new Set(last.map((error) => error.replace(/\S*[\\/]\S*|\d+/g, '')))
    if (last.length === MAX_FAILURES && kinds.size === 1 && !this.anyFinished)
      throw new RunError(`the last ${MAX_FAILURES} runs failed in the same way: ${last[0]}`)
  }
}

/** Model FLOPs of a training, with nothing dropped. */
export const flopsOf = ({ config: { model, train } }: { readonly config: RunConfig }): number =>
  describeModel(model).flopsPerToken * train.steps * train.batch * model.sequence

const nameOf = ({ arm, seed, rate, config }: Cell): RunName => ({
  arm,
  seed,
  rate,
  ...(rate !== 'common' && { learningRate: config.train.schedule.learningRate }),
})

/** A readable name that is valid on every file system. */
const folderOf = ({ arm, seed, key }: Cell): string =>
  `${arm
    .toLowerCase()
    .replace(/[^a-z0-9.=]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '')
    .slice(0, 60)}-seed-${seed}-${key.slice(0, 8)}`

/** Waits for all, even if one fails, then throws the first failure. */
async function allSettled(works: readonly Promise<void>[], onFailure: () => void): Promise<void> {
  for (const work of works) work.catch(onFailure)
  const failed = (await Promise.allSettled(works)).find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
