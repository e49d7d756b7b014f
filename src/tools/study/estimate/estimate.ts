/**
 * The estimate of a study before it runs: `choir study --dry-run`. Probes measure the pace of every distinct training
 * for a few seconds each, as many at a time as runs will be, and arithmetic does the rest. Nothing is written into the
 * folder of the study.
 */
import { option, UsageError, wording } from '../../../core/errors.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { plural } from '../../../core/text/numbers.ts'
import { unkeptPlugins } from '../../../node/run/plugins/plugins.ts'
import type { Cell } from '../contract.ts'
import { distinctCells, isShort } from '../grid/cells.ts'
import { expand, type Grid } from '../grid/grid.ts'
import { Ledger } from '../results/ledger.ts'
import { emitPredictions } from '../results/registrations.ts'
import { runsOf } from '../results/results.ts'
import { confirmingOf, trialsOf } from '../results/tuning.ts'
import { prepareCorpora } from '../runs/corpora.ts'
import { changedPartNotes, emitMatches, warmupNote } from '../runs/overview.ts'
import { PROBE_SECONDS } from '../runs/probe.ts'
import type { StudyOptions } from '../runs/run-study.ts'
import { checkStudyFolder, refuseOtherStudy } from '../runs/study-folder.ts'
import { areTimed } from '../runs/timings.ts'
import { type Extras, evaluatedBy, evaluationsIn, secondsOf, shapeOf, totalOf } from '../runs/work.ts'
import { type RunJob, runInProcess } from '../runs/workers.ts'
import type { Settings, Specification } from '../specification.ts'
import {
  chooseSeeds,
  type DiskBytes,
  diskOf,
  type Remaining,
  remainingOf,
  type SeedChoice,
  type StudySeconds,
  timeOf,
} from './costs.ts'
import { type Measured, measure } from './measure.ts'

export interface ArmEstimate {
  readonly arm: string
  /** Settings of the arm, without the settings that all arms share. */
  readonly settings: Settings
  readonly parameters: number
  readonly activeParameters: number
  /** Model FLOPs to train on a token, forward and backward, with nothing dropped. */
  readonly flopsPerToken: number
  /** Steps of a whole run, and the measured seconds of a step; null if its first steps failed. */
  readonly steps: number
  readonly stepSeconds: number | null
  /** Seconds of a whole run with all of its evaluations; null if no pace is known. */
  readonly runSeconds: number | null
  /** Runs of the arm that are left, in all phases; of a search, in the rungs whose configurations are known. */
  readonly runs: number
  /** Notices and warnings that its training gives, and the error of its first steps. */
  readonly warnings: readonly string[]
}

export interface StudyEstimate {
  readonly arms: readonly ArmEstimate[]
  readonly seeds: number
  /** Known runs that are left, trials included, and finished runs of the study. */
  readonly runs: number
  readonly finished: number
  readonly jobs: number
  readonly threads: number
  /** Wall time that is left. */
  readonly seconds: StudySeconds
  /** Runs that sweeps of learning rates may add at most, and how much longer the study then takes. */
  readonly possible: { readonly runs: number; readonly seconds: number }
  /** Disk space of the runs that are left. */
  readonly bytes: DiskBytes
  /** Remarks: long warm-ups, and what takes much of the time, such as an evaluation, with the setting that caps it. */
  readonly notes: readonly string[]
  /** The seeds that a budget of time has room for; null without a budget. */
  readonly budget: SeedChoice | null
}

export interface EstimateOptions
  extends Pick<StudyOptions, 'jobs' | 'threads' | 'timingThreads' | 'keepCheckpoints' | 'signal' | 'onEvent'> {
  /** Folder of the study, whose finished runs count; default: none. */
  readonly directory?: string | undefined
  /** Seconds of wall time for what is left: the number of seeds is chosen so that the study takes at most this. */
  readonly budget?: number | undefined
  /** Whether no study follows, which would emit its matched arms and predictions: then the estimate emits them. */
  readonly dryRun?: boolean | undefined
}

/**
 * Estimates the time and the disk space that a study still needs, and writes nothing into its folder.
 * @returns null if `signal` stopped it
 * @throws UsageError when the specification is wrong, or the folder is a run or has results that cannot be continued
 * @throws RunError when the first steps of every arm fail
 */
export async function estimateStudy(
  specification: Specification,
  options: EstimateOptions,
  run: RunJob = runInProcess,
): Promise<StudyEstimate | null> {
  const { directory, budget, dryRun = false, signal = new AbortController().signal, onEvent = () => {} } = options
  if (specification.search && budget !== undefined)
    throw new UsageError(
      wording`invalid ${option('budget')}: a search trains with one seed, so no seeds can be left out (set fewer search.configurations)`,
    )
  const grid = await expand(specification)
  if (dryRun) emitMatches(grid, onEvent)
  if (directory !== undefined) await checkStudyFolder(directory)
  const ledger = directory === undefined ? Ledger.empty() : await Ledger.toContinue(directory)
  const remaining = remainingOf(grid, ledger)
  const known = remaining.phases.flat()
  const ofStudy = [...runsOf(grid, ledger), ...trialsOf(grid, ledger), ...confirmingOf(grid, ledger)]
  if (directory !== undefined) refuseOtherStudy(ofStudy, ledger, directory)
  const corpora = await prepareCorpora(
    [...runsOf(grid, ledger), ...known],
    specification.elsewhere,
    ledger,
    signal,
    onEvent,
  )
  if (!corpora) return null

  const timed = areTimed(grid, ledger) ? [] : grid.timed
  const shapes = new Set(known.map(({ config }) => shapeOf(config))).size
  if (shapes > 0)
    onEvent({
      kind: 'prepare',
      message: `measuring the first steps of ${plural(shapes, 'model')}: at most ${PROBE_SECONDS} s of steps each, or two steps`,
    })
  const measured = await measure(known, timed, options, run, signal)
  if (!measured) return null
  const extras = { elsewhere: specification.elsewhere.length, specialised: grid.specialised }

  const choice = budget === undefined ? null : await chosen(specification, budget, ledger, measured, extras, options)
  const all = { grid, remaining, extras }
  const used = choice?.seeds ? await withSeeds(specification, choice.seeds, ledger) : all
  const { jobs, threads, keepCheckpoints } = options
  const cells = used.remaining.phases.flat()
  const runs = runsOf(used.grid, ledger)
  const warmup = warmupNote(runs)
  const time = timeOf(used.remaining, measured, extras, timed, jobs)
  // A budget changes the seeds, which are registered too.
  if (dryRun) emitPredictions(used.grid, ledger.registrations, onEvent)
  return {
    arms: Object.keys(grid.arms).map((arm) => armEstimate(arm, used.grid, used.remaining.known, measured, extras)),
    seeds: used.grid.seeds.length,
    runs: cells.length,
    finished: distinctCells(runs).filter(({ key, config }) => ledger.find(key, config)?.status === 'finished').length,
    jobs,
    threads,
    seconds: time.known,
    possible: { runs: used.remaining.possible.flat().length, seconds: time.possible },
    bytes: diskOf(used.remaining, measured, jobs, keepCheckpoints),
    notes: [
      ...changedPartNotes([...runs, ...cells], ledger),
      ...unkeptPlugins(runs.map(({ config }) => config)),
      ...(warmup === null ? [] : [warmup]),
      ...notesOf(cells, measured, time.known),
    ],
    budget: choice,
  }
}

async function withSeeds(
  specification: Specification,
  seeds: number,
  ledger: Ledger,
): Promise<{ readonly grid: Grid; readonly remaining: Remaining }> {
  const grid = await expand({ ...specification, seeds: specification.seeds.slice(0, seeds) })
  return { grid, remaining: remainingOf(grid, ledger) }
}

async function chosen(
  specification: Specification,
  budget: number,
  ledger: Ledger,
  measured: Measured,
  extras: Extras,
  { jobs }: EstimateOptions,
): Promise<SeedChoice> {
  return chooseSeeds(budget, specification.seeds.length, async (seeds) => {
    const { grid, remaining } = await withSeeds(specification, seeds, ledger)
    return timeOf(remaining, measured, extras, areTimed(grid, ledger) ? [] : grid.timed, jobs)
  })
}

function armEstimate(
  arm: string,
  { arms, cells, timed }: Grid,
  left: readonly Cell[],
  { paces, failures, messages }: Measured,
  extras: Extras,
): ArmEstimate {
  const own = [...cells.filter((cell) => cell.arm === arm), ...timed.filter((cell) => cell.arm === arm)]
  const whole = own.toSorted((a, b) => b.config.train.steps - a.config.train.steps)[0] as Cell
  const { config } = whole
  const { parameters, activeParameters, flopsPerToken } = describeModel(config.model)
  const shape = shapeOf(config)
  const failure = failures.get(shape)
  const pace = paces.of(config)
  // The whole training, not only the rest after the branch that it continues.
  const { branch: _, budget: _b, ...alone } = whole
  return {
    arm,
    settings: arms[arm] ?? {},
    parameters,
    activeParameters,
    flopsPerToken,
    steps: config.train.steps,
    stepSeconds: failure === undefined ? (pace?.step ?? null) : null,
    runSeconds: pace && totalOf(secondsOf(alone, pace, extras)),
    runs: left.filter((cell) => cell.arm === arm).length,
    warnings: [
      ...(failure === undefined ? [] : [`its first steps failed: ${failure}`]),
      ...(messages.get(shape) ?? []),
    ],
  }
}

/** Share of the time from which evaluations are worth a note. */
const MUCH = 0.25

function notesOf(cells: readonly Cell[], { paces, failures }: Measured, time: StudySeconds): string[] {
  const notes: string[] = []
  if (failures.size > 0 && cells.length > 0)
    notes.push('the time of arms whose first steps failed is estimated from the others, by their FLOPs')
  const share = time.evaluation / Math.max(time.total, Number.MIN_VALUE)
  const cell = cells.find((one) => !isShort(one)) ?? cells[0]
  const pace = cell && paces.of(cell.config)
  if (cell && pace && share > MUCH) {
    const percent = Math.round(100 * share)
    const { evalEvery, evalBatches } = cell.config.train
    const during = evaluationsIn(cell, 0)
    const tokens = evaluatedBy(cell.config, pace)
    const cap = evalBatches === 0 ? 'all of it, since train.evalBatches is 0' : `train.evalBatches: ${evalBatches}`
    notes.push(
      during * tokens > pace.heldOutTokens
        ? `evaluations take ${percent} % of the time: a run makes ${during} during training (train.evalEvery: ${evalEvery}), ` +
            `each of ${plural(tokens, 'held-out token')} (${cap}); a smaller train.evalBatches or a larger ` +
            'train.evalEvery shortens them'
        : `evaluations take ${percent} % of the time, mostly the one after each run, of all ` +
            `${plural(pace.heldOutTokens, 'held-out token')}: train.evalBatches does not cap it, a smaller data.heldOut ` +
            'shortens it',
    )
  }
  return notes
}
