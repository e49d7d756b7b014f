/**
 * Runs a study phase by phase: learning-rate sweeps and the runs that confirm them, the runs with those of the pilot
 * first, the timings. A study that was stopped continues from its results.json.gz. Several processes may run it together: each
 * goes through all phases, and waits at the end of a phase until the others have done their runs of it.
 */
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import type { Cell, SearchRung } from '../contract.ts'
import type { Phase, StudyEvent } from '../events.ts'
import { distinctCells, rungCell, totalFlops } from '../grid/cells.ts'
import { expand, type Grid } from '../grid/grid.ts'
import type { SearchPlan } from '../grid/search.ts'
import { SharedCells } from '../results/cell-files.ts'
import { laterRungs, rungStatesOf } from '../results/halving.ts'
import { Ledger } from '../results/ledger.ts'
import { pilotCells, pilotOf } from '../results/pilot.ts'
import { factsOf, Processes } from '../results/processes.ts'
import { describeMachine } from '../results/record.ts'
import { register } from '../results/registrations.ts'
import { runsOf, tuningsOf } from '../results/results.ts'
import { confirmingOf, sweepStateOf, trialsOf } from '../results/tuning.ts'
import type { Specification } from '../specification.ts'
import { conclude, type Report } from './conclude.ts'
import { prepareCorpora, textsOf } from './corpora.ts'
import { emitOverview } from './overview.ts'
import { RunQueue } from './run-queue.ts'
import type { RunsContext } from './runs-context.ts'
import { openStudyFolder, refuseOtherStudy } from './study-folder.ts'
import { TimeLeft } from './time-left.ts'
import { areTimed } from './timings.ts'
import { type RunJob, runInProcess } from './workers.ts'

export interface StudyOptions {
  readonly name: string
  /** The command as the user typed it, for the report. */
  readonly command: string
  readonly directory: string
  /** The file of the specification, if any; it is never overwritten. */
  readonly file?: string
  /** Number of runs at a time, and of threads of each run. */
  readonly jobs: number
  readonly threads: number
  /** Number of threads when steps are timed, one arm at a time. */
  readonly timingThreads: number
  /** Whether the checkpoints of finished runs are kept. */
  readonly keepCheckpoints: boolean
  /** Whether the report is also written as files for a paper. */
  readonly paper?: boolean
  /** Whether to work together with processes that already run the study. */
  readonly join?: boolean
  readonly signal?: AbortSignal
  readonly onEvent?: (event: StudyEvent) => void
}

export interface StudyState {
  readonly grid: Grid
  readonly ledger: Ledger
  readonly interrupted: boolean
  /** Names of the other processes that go on with the study, or write its report. */
  readonly others: readonly string[]
}

/**
 * Does the missing runs of a study, measures step times, and lets one process write the report.
 * @param report Writes the report. It is called only if this process is to write it.
 * @throws UsageError when the specification is wrong, the text has changed since runs were done, the folder is that of a
 *   run or has results of another study, or processes run another study here
 * @throws RunError when processes run the study and `join` is not set, results cannot be written, or every run fails
 */
export async function runStudy(
  specification: Specification,
  options: StudyOptions,
  run: RunJob = runInProcess,
  report: Report = async () => {},
): Promise<StudyState> {
  const { directory, join = false, signal = new AbortController().signal, onEvent = () => {} } = options
  const grid = await expand(specification)
  await openStudyFolder(directory)
  const processes = await Processes.join(directory, factsOf(specification), join)
  const cells = new SharedCells(directory, processes)
  try {
    const ledger = await Ledger.open(directory, cells, processes)
    const known = [...runsOf(grid, ledger), ...trialsOf(grid, ledger), ...confirmingOf(grid, ledger)]
    refuseOtherStudy(known, ledger, directory)
    const corpora = await prepareCorpora(known, specification.elsewhere, ledger, signal, onEvent)
    if (corpora) await processes.declareTexts(textsOf(known, corpora))
    const { jobs, threads, timingThreads } = options
    const extras = { elsewhere: specification.elsewhere.length, specialised: grid.specialised }
    const timed = areTimed(grid, ledger) ? [] : grid.timed
    const timeLeft = new TimeLeft({ jobs, threads, timed, timingThreads, extras })
    const found = { grid, ledger, processes, cells, corpora: corpora ?? new Map() }
    const context = { ...options, ...found, timeLeft, run, signal, onEvent }
    if (corpora) {
      if (!grid.search) await register(grid, ledger, cells, signal)
      await ledger.describe({ name: options.name, matches: grid.matches })
      emitOverview(context, describeMachine(), await processes.others())
      try {
        await new Phases(context).runAll()
      } catch (error) {
        // A study that cannot continue still writes a report of its results so far.
        if (error instanceof RunError) await conclude(context, report, false).catch(() => {})
        throw error
      }
    }
    const others = await conclude(context, report, !signal.aborted)
    return { grid, ledger, interrupted: signal.aborted, others }
  } finally {
    await cells.releaseAll().catch(() => {})
    await processes.leave().catch(() => {})
  }
}

/** The current state of the study in a folder, without running anything. @throws UsageError if there are no results */
export async function studyOf(specification: Specification, options: StudyOptions): Promise<StudyState> {
  const grid = await expand(specification)
  const ledger = await Ledger.open(options.directory)
  if (!grid.cells.some(({ key, config }) => ledger.find(key, config))) {
    const found = ledger.name === '' ? '' : `; the folder has results of ${ledger.name}`
    throw new UsageError(
      wording`no results of this study in "${options.directory}" yet (leave out ${option('report')} to run it${found})`,
    )
  }
  return { grid, ledger, interrupted: false, others: [] }
}

interface RungOfSearch {
  readonly place: { readonly steps: number; readonly number: number; readonly of: number }
  readonly flopsAfter: number
  /** Trainings of the rungs after it; whose they are is not known yet. */
  readonly later: readonly Cell[]
}

/** The phases of a study that train: learning-rate sweeps, their confirmation, then the runs, those of the pilot first. */
class Phases {
  private readonly grid: Grid
  private readonly ledger: Ledger
  private readonly queue: RunQueue
  private readonly signal: AbortSignal
  private readonly emit: (event: StudyEvent) => void
  private haveFindings = false

  constructor(context: RunsContext) {
    this.grid = context.grid
    this.ledger = context.ledger
    this.signal = context.signal
    this.emit = context.onEvent
    this.queue = new RunQueue(context)
  }

  async runAll(): Promise<void> {
    await this.queue.refresh()
    await this.queue.removeLeftovers(this.known())
    await this.tune()
    if (this.signal.aborted) return
    const { grid, ledger } = this
    if (grid.search) return this.search(grid.search)
    const pilot = pilotCells(grid)
    await this.reportFindings(pilot)
    await this.train('runs', [...pilot, ...runsOf(grid, ledger)], { onEnd: () => this.reportFindings(pilot) })
    await this.reportFindings(pilot)
  }

  /** All trainings that the results so far ask for, in the order of the phases. */
  private known(): Cell[] {
    const { grid, ledger } = this
    return [...trialsOf(grid, ledger), ...confirmingOf(grid, ledger), ...runsOf(grid, ledger)]
  }

  /**
   * Runs rounds of trials until no sweep needs more: a sweep whose best rate is at an edge is extended. Then come the
   * whole runs that confirm the rates that the trials prefer.
   */
  private async tune(): Promise<void> {
    const { sweeps, capacity } = this.grid
    const trials = () => trialsOf(this.grid, this.ledger)
    const confirming = () => confirmingOf(this.grid, this.ledger)
    await this.queue.refresh()
    const tried = new Set(this.queue.remaining([...trials(), ...confirming()]).map(({ arm }) => arm))
    while (!this.signal.aborted && this.queue.remaining(trials()).length > 0) await this.train('tuning', trials())
    if (!this.signal.aborted) await this.train('confirm', confirming())
    if (this.signal.aborted) return
    for (const sweep of sweeps.filter(({ arm }) => tried.has(arm))) {
      const { tuning, edge, hasFailed } = sweepStateOf(sweep, this.ledger, capacity)
      const common = sweep.config.train.schedule.learningRate
      if (tuning) this.emit({ kind: 'tuned', ...tuning, edge, common })
      else if (hasFailed)
        this.emit({ kind: 'note', message: `no trial of ${sweep.arm} finished: it has no best learning rate` })
    }
  }

  /**
   * Reports the effect that the study can detect as soon as the runs of the pilot have ended, and saves the results of
   * sweeps and pilot. Other runs may have begun: no worker waits for the pilot.
   */
  private async reportFindings(cells: readonly Cell[]): Promise<void> {
    if (this.haveFindings || this.signal.aborted || this.queue.unfinished(cells).length > 0) return
    this.haveFindings = true
    const pilot = pilotOf(this.grid, this.ledger)
    if (pilot) this.emit({ kind: 'pilot', ...pilot })
    await this.ledger.putFindings({ tuning: tuningsOf(this.grid, this.ledger), pilot })
  }

  /** Trains rung by rung; the records of a rung decide which configurations go on. */
  private async search(plan: SearchPlan): Promise<void> {
    const { rungs } = plan
    const states = () => rungStatesOf(plan, this.ledger, this.grid.capacity)
    for (let i = 0; i < rungs.length && !this.signal.aborted; i++) {
      const cells = states()[i]?.cells
      if (cells === undefined) break
      const after = rungs.slice(i + 1).map(({ steps, configurations }, j) => {
        const from = rungs[i + j]?.steps ?? 0
        const sample = plan.candidates.map(({ name, config }) => rungCell(name, plan.seed, config, steps, from))
        return (totalFlops(sample) * configurations) / sample.length
      })
      const place = { steps: rungs[i]?.steps ?? 0, number: i + 1, of: rungs.length }
      const flopsAfter = after.reduce((sum, flops) => sum + flops, 0)
      await this.train('search', cells, { rung: { place, flopsAfter, later: laterRungs(plan, i + 1).flat() } })
      if (this.signal.aborted) return
      const [rung, next] = states().slice(i)
      const best = rung && bestEntry(rung)
      if (!rung || !best) break
      this.emit({ kind: 'rung', steps: rung.steps, ...best, promoted: next?.cells.length ?? 0 })
      const going = new Set(next?.entries.map(({ arm }) => arm))
      await this.queue.folders.dropCheckpoints(rung.cells.filter(({ arm }) => !going.has(arm)))
    }
  }

  /**
   * @param options.rung Place of a rung of a search, and the model FLOPs of the rungs after it.
   * @param options.onEnd Called after each run.
   */
  private async train(
    phase: Phase,
    cells: readonly Cell[],
    { rung, onEnd }: { readonly rung?: RungOfSearch; readonly onEnd?: () => Promise<void> } = {},
  ): Promise<void> {
    await this.queue.refresh()
    const left = this.queue.remaining(cells)
    if (this.signal.aborted || left.length === 0) return
    const runs = distinctCells(cells).length
    const unfinished = this.queue.remaining(rung ? cells : this.known())
    const flopsLeft = totalFlops(unfinished) + (rung?.flopsAfter ?? 0)
    const ofPhase = new Set(cells.map(({ key }) => key))
    const later = rung?.later ?? unfinished.filter(({ key }) => !ofPhase.has(key))
    this.emit({
      kind: 'phase',
      phase,
      ...(rung && { rung: rung.place }),
      runs,
      finished: runs - left.length,
      flopsLeft,
    })
    await this.queue.runAll(cells, flopsLeft, later, onEnd)
  }
}

/** The configuration with the lowest loss; undefined if all failed. */
function bestEntry({ entries }: SearchRung): { readonly best: string; readonly loss: number } | undefined {
  const known = entries.flatMap(({ arm, loss }) => (typeof loss === 'number' ? [{ best: arm, loss }] : []))
  return known.toSorted((a, b) => a.loss - b.loss)[0]
}
