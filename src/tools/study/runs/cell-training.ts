/** Trains one cell in another process: the job of the cell, the events of its training, and its record, also of a failure. */
import { RunError, UsageError } from '../../../core/errors.ts'
import type { Cell, RunRecord, Specialisation } from '../contract.ts'
import type { RunName } from '../events.ts'
import { flopsOf, isShort } from '../grid/cells.ts'
import type { CellFolders } from './cell-folders.ts'
import { corpusOf } from './corpora.ts'
import type { JobResult, JobUpdate, TrainJob } from './job.ts'
import type { RunsContext } from './runs-context.ts'
import { withThreads } from './timings.ts'

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
export const nameOf = ({ arm, seed, rate, config, branch }: Cell): RunName => ({
  arm,
  seed,
  rate,
  ...(branch && { branchSteps: config.train.steps }),
  ...(rate !== 'common' && { learningRate: config.train.schedule.learningRate }),
})
