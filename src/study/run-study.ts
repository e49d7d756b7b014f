/**
 * Runs a study: which cells are still to be done, a few processes at a time, each record kept as soon as
 * it is there; then the timings, then the report. Whatever stops it, it goes on from its results.json.
 */
import { rm, stat } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { RunError, UsageError } from '../errors.ts'
import { describeModel } from '../model/describe.ts'
import type { RunConfig } from '../train/config.ts'
import { errorCode, makeFolder } from '../train/disk.ts'
import { lockRun } from '../train/lock.ts'
import type { Cell, RunRecord, Specialisation } from './contract.ts'
import { type Corpora, corpusOf, prepareCorpora } from './corpora.ts'
import type { StudyEvent } from './events.ts'
import { expand, type Grid } from './grid.ts'
import type { JobNews, JobResult, TrainJob } from './job.ts'
import { Ledger } from './ledger.ts'
import type { Specification } from './specification.ts'
import { timeArms, withThreads } from './timings.ts'
import { type RunJob, runInProcess } from './workers.ts'

export interface StudyOptions {
  readonly name: string
  /** As the user typed it: it goes into the report. */
  readonly command: string
  readonly directory: string
  /** The file of the specification, if it is one: nothing is written over it. */
  readonly file?: string
  /** Runs at a time, and threads of each. */
  readonly jobs: number
  readonly threads: number
  /** Threads of a run that is alone, when steps are timed. */
  readonly timingThreads: number
  /** Keep the checkpoints of finished runs. */
  readonly keepCheckpoints: boolean
  readonly signal?: AbortSignal
  readonly onEvent?: (event: StudyEvent) => void
}

export interface StudyState {
  readonly grid: Grid
  readonly ledger: Ledger
  readonly interrupted: boolean
}

/** So many failures of the same kind, one after the other, are no accident. */
const MOST_FAILURES = 8

/**
 * @throws UsageError when the specification is wrong, or the text has changed since runs were done
 * @throws RunError when another process runs a study here, results cannot be written, or every run fails
 */
export async function runStudy(
  specification: Specification,
  options: StudyOptions,
  run: RunJob = runInProcess,
): Promise<StudyState> {
  const { directory, signal = new AbortController().signal, onEvent: tell = () => {} } = options
  const grid = await expand(specification)
  await createFolder(directory)
  const lock = await lockRun(directory)
  try {
    const ledger = await Ledger.open(directory)
    const corpora = await prepareCorpora(grid.cells, specification.elsewhere, ledger, signal, tell)
    if (!corpora) return { grid, ledger, interrupted: true }
    await ledger.describe({
      name: options.name,
      machine: `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} logical cores, ${process.platform} ${process.arch}, Node ${process.version}`,
    })
    const study = new StudyRun({ grid, ledger, corpora, options, run, signal, tell })
    await study.runs()
    const skipped = signal.aborted || study.nothingFinished()
    const timings = skipped ? null : await timeArms(grid, ledger, options.timingThreads, run, signal, tell)
    if (timings) await ledger.putTimings(timings)
    return { grid, ledger, interrupted: signal.aborted }
  } finally {
    await lock.release()
  }
}

/** The study as it stands in a folder, without running any of it. @throws UsageError when there is none */
export async function studyOf(specification: Specification, options: StudyOptions): Promise<StudyState> {
  const grid = await expand(specification)
  const ledger = await Ledger.open(options.directory)
  if (!grid.cells.some(({ key, config }) => ledger.find(key, config))) {
    const other = ledger.name === '' ? '' : `; it holds results of ${ledger.name}`
    throw new UsageError(
      `no results of this study in "${options.directory}" yet (leave out --report to run it${other})`,
    )
  }
  return { grid, ledger, interrupted: false }
}

interface Context {
  readonly grid: Grid
  readonly ledger: Ledger
  readonly corpora: ReadonlyMap<string, Corpora>
  readonly options: StudyOptions
  readonly run: RunJob
  readonly signal: AbortSignal
  readonly tell: (event: StudyEvent) => void
}

interface TrainResult {
  readonly record: RunRecord
  readonly specialisation: Specialisation | null
}

class StudyRun {
  private readonly context: Context
  private finished = 0
  private readonly notes = new Set<string>()
  private failures: string[] = []
  /** Ends the other runs when one of them shows that the study cannot go on. */
  private readonly stop = new AbortController()
  private readonly signal: AbortSignal

  constructor(context: Context) {
    this.context = context
    this.signal = AbortSignal.any([context.signal, this.stop.signal])
  }

  /** Every cell that has no finished record; a run that failed before is tried again. */
  async runs(): Promise<void> {
    const distinct = [...new Map(this.context.grid.cells.map((cell) => [cell.key, cell])).values()]
    // What failed before comes last: what it tells is known.
    const isNew = ({ key, config }: Cell) => this.context.ledger.find(key, config) === undefined
    const undone = distinct.filter((cell) => !this.isDone(cell))
    const left = [...undone.filter(isNew), ...undone.filter((cell) => !isNew(cell))]
    this.finished = distinct.length - left.length
    const { jobs, threads } = this.context.options
    this.context.tell({
      kind: 'study',
      arms: new Set(this.context.grid.cells.map(({ arm }) => arm)).size,
      seeds: this.context.grid.seeds.length,
      runs: distinct.length,
      finished: this.finished,
      jobs,
      threads,
      flopsLeft: left.reduce((total, { config }) => total + flopsOf(config), 0),
    })
    const queue = left.values()
    const work = async () => {
      for (const cell of queue) {
        if (this.signal.aborted) return
        const result = await this.train(cell)
        if (!result) return
        const { record, specialisation } = result
        await this.context.ledger.put(record, specialisation)
        await this.tidy(cell, record)
        this.finished++
        const { arm, seed } = cell
        this.context.tell({ kind: 'end', arm, seed, record, finished: this.finished, runs: distinct.length })
        this.refuseEndlessFailure(record)
      }
    }
    await together(Array.from({ length: jobs }, work), () => this.stop.abort())
  }

  nothingFinished(): boolean {
    const { ledger, grid } = this.context
    return grid.cells.every(({ key, config }) => ledger.find(key, config)?.status !== 'finished')
  }

  private isDone({ key, config }: Cell): boolean {
    const { ledger, grid } = this.context
    const isLookedAt = !grid.specialised.has(key) || ledger.specialisations.some((found) => found.key === key)
    return ledger.find(key, config)?.status === 'finished' && isLookedAt
  }

  private async train(cell: Cell): Promise<TrainResult | null> {
    const { arm, seed, key, config } = cell
    const directory = join(this.context.options.directory, 'runs', folderOf(cell))
    this.context.tell({ kind: 'begin', arm, seed, flops: flopsOf(config) })
    const corpora = this.context.corpora.get(corpusOf(config))
    const job: TrainJob = {
      kind: 'train',
      key,
      seed,
      config: withThreads(config, this.context.options.threads),
      directory,
      corpus: corpora?.own ?? '',
      elsewhere: corpora?.elsewhere ?? {},
      specialise: this.context.grid.specialised.has(key),
    }
    let result: JobResult
    try {
      result = await this.context.run(job, this.signal, (news) => this.hear(cell, news))
    } catch (error) {
      if (this.signal.aborted) return null
      if (!(error instanceof UsageError || error instanceof RunError)) throw error
      const line = error.message.split('\n')[0] ?? ''
      return { record: { status: 'failed', key, seed, config, error: line }, specialisation: null }
    }
    if (result.kind !== 'record') return null
    // Threads are of this process, not of the arm.
    return { record: { ...result.record, config }, specialisation: result.specialisation }
  }

  /** Checkpoints go when the record is safe. That they cannot, on some systems for a while, harms nothing. */
  private async tidy(cell: Cell, { status }: RunRecord): Promise<void> {
    if (status !== 'finished' || this.context.options.keepCheckpoints) return
    const checkpoints = join(this.context.options.directory, 'runs', folderOf(cell), 'checkpoints')
    await rm(checkpoints, { recursive: true, force: true }).catch(() => {})
  }

  private hear({ arm, seed }: Cell, news: JobNews): void {
    if (news.kind === 'progress') this.context.tell({ ...news, arm, seed })
    else if (!this.notes.has(news.message)) {
      this.notes.add(news.message)
      this.context.tell({ kind: 'note', message: `${arm}, seed ${seed}: ${news.message}` })
    }
  }

  private refuseEndlessFailure(record: RunRecord): void {
    this.failures = record.status === 'failed' ? [...this.failures, record.error] : []
    const last = this.failures.slice(-MOST_FAILURES)
    // The same error in another folder, with other numbers, is the same.
    const alike = new Set(last.map((error) => error.replace(/\S*[\\/]\S*|\d+/g, '')))
    if (last.length === MOST_FAILURES && alike.size === 1 && this.nothingFinished())
      throw new RunError(`the last ${MOST_FAILURES} runs failed in the same way: ${last[0]}`)
  }
}

/** Model FLOPs of a training, with nothing dropped. */
const flopsOf = ({ model, train }: RunConfig): number =>
  describeModel(model).flopsPerToken * train.steps * train.batch * model.sequence

/** A name that people and every file system can read. */
const folderOf = ({ arm, seed, key }: Cell): string =>
  `${arm
    .toLowerCase()
    .replace(/[^a-z0-9.=]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '')
    .slice(0, 60)}-seed-${seed}-${key.slice(0, 8)}`

async function createFolder(directory: string): Promise<void> {
  const notFolder = () => new UsageError(`invalid --out: "${directory}" is a file (expected a folder)`)
  try {
    await makeFolder(resolve(directory))
    if (!(await stat(directory)).isDirectory()) throw notFolder()
  } catch (error) {
    if (error instanceof UsageError) throw error
    if (errorCode(error) === 'ENOTDIR') throw notFolder()
    throw new RunError(`cannot create ${directory}: ${(error as Error).message}`)
  }
}

/** Waits for all, also when one fails; then the first failure is thrown. */
async function together(works: readonly Promise<void>[], onFailure: () => void): Promise<void> {
  for (const work of works) work.catch(onFailure)
  const failed = (await Promise.allSettled(works)).find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
