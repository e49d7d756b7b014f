/**
 * The runs that a study still has to do, phase by phase, with the further runs that its sweeps may ask for, and their wall
 * time and disk space from the measured paces.
 */
import type { Cell } from '../contract.ts'
import { cellOf, chainOf, firstStepOf, stepsOf, trialOf } from '../grid/cells.ts'
import type { Grid } from '../grid/grid.ts'
import { laterRungs, rungStatesOf } from '../results/halving.ts'
import type { Ledger } from '../results/ledger.ts'
import { runsOf } from '../results/results.ts'
import { MAX_EXTENSIONS, sweepStateOf } from '../results/tuning.ts'
import type { RunBytes } from '../runs/probe.ts'
import { groupOf, makespan } from '../runs/time-left.ts'
import { TIMED_STEPS, TURNS, WARM_UP_STEPS } from '../runs/timings.ts'
import { addSeconds, type Extras, noSeconds, type Seconds, secondsOf, shapeOf, totalOf } from '../runs/work.ts'
import type { Measured } from './measure.ts'

export interface Remaining {
  /** Known runs that are not finished, by phase. A phase begins when the phase before it is done. */
  readonly phases: readonly (readonly Cell[])[]
  /**
   * The runs of `phases` whose arms are known. Runs of later rungs of a search stand for configurations that will be
   * chosen by their losses.
   */
  readonly known: readonly Cell[]
  /**
   * Runs that sweeps add at most, by phase: trials at further rates, whole runs that confirm a rate, and the runs of all
   * seeds at best rates. Their learning rates, and so their keys, are not known yet.
   */
  readonly possible: readonly (readonly Cell[])[]
}

export function remainingOf(grid: Grid, ledger: Ledger): Remaining {
  const { sweeps, capacity, search } = grid
  const seen = new Set<string>()
  const left = (cells: readonly Cell[]) =>
    cells.filter(({ key, config }) => {
      if (seen.has(key)) return false
      seen.add(key)
      return ledger.find(key, config)?.status !== 'finished'
    })
  if (search) {
    const states = rungStatesOf(search, ledger, capacity)
    const rungs = states.map(({ cells }) => left(cells))
    return { phases: [...rungs, ...laterRungs(search, states.length)], known: rungs.flat(), possible: [] }
  }
  const states = sweeps.map((sweep) => sweepStateOf(sweep, ledger, capacity))
  const phases = [
    left(states.flatMap(({ cells }) => cells)),
    left(states.flatMap(({ confirming }) => confirming)),
    left(runsOf(grid, ledger)),
  ]
  return {
    phases,
    known: phases.flat(),
    possible: possibleOf(grid, ledger),
  }
}

function possibleOf({ sweeps, seeds, branches, capacity }: Grid, ledger: Ledger): Cell[][] {
  const trials: Cell[] = []
  const confirming: Cell[] = []
  const best: Cell[] = []
  for (const sweep of sweeps) {
    const { arm, config, steps, confirm } = sweep
    const { tuning } = sweepStateOf(sweep, ledger, capacity)
    // An arm that keeps its own rate, or whose rate is confirmed or refuted, needs no more runs than are known.
    if (tuning && typeof tuning.confirmed !== 'object') continue
    if (!tuning)
      for (let i = 0; i < MAX_EXTENSIONS; i++)
        trials.push(...sweep.seeds.map((seed) => trialOf(arm, seed, config, steps)))
    if (!tuning) confirming.push(...[0, 1].flatMap(() => confirm.map((seed) => cellOf(arm, seed, 'confirm', config))))
    best.push(...seeds.flatMap((seed) => chainOf(arm, seed, 'best', config, branches)))
  }
  return [trials, confirming, best].filter((cells) => cells.length > 0)
}

/** Wall time by its cause. Runs at the same time share it: each cause has its share of the time of all runs. */
export interface StudySeconds extends Seconds {
  /** Timing steps after all runs, one arm at a time. */
  readonly timing: number
  readonly total: number
}

export interface DiskBytes {
  /** The most that is needed at a time. */
  readonly peak: number
  /** What stays when the study is done: logs, and checkpoints if they are kept. */
  readonly kept: number
}

/** @param timed Arms whose steps are still to be timed. */
export function timeOf(
  { phases, possible }: Remaining,
  measured: Measured,
  extras: Extras,
  timed: readonly Cell[],
  jobs: number,
): { readonly known: StudySeconds; readonly possible: number } {
  const { wall, work } = wallOf(phases, measured, extras, jobs)
  const timing = timed.reduce((sum, { config }) => {
    const pace = measured.timings.get(shapeOf(config))
    return sum + (pace ? TURNS * (pace.start + (WARM_UP_STEPS + TIMED_STEPS) * pace.step) : 0)
  }, 0)
  const share = totalOf(work) > 0 ? wall / totalOf(work) : 0
  const { training, evaluation, starting } = work
  return {
    known: {
      training: training * share,
      evaluation: evaluation * share,
      starting: starting * share,
      timing,
      total: wall + timing,
    },
    possible: wallOf(possible, measured, extras, jobs).wall,
  }
}

function wallOf(
  phases: readonly (readonly Cell[])[],
  { paces }: Measured,
  extras: Extras,
  jobs: number,
): { readonly wall: number; readonly work: Seconds } {
  let work = noSeconds
  let wall = 0
  for (const cells of phases) {
    const tasks = cells.map((cell, i) => {
      const pace = paces.of(cell.config)
      const seconds = pace ? secondsOf(cell, pace, extras) : noSeconds
      work = addSeconds(work, seconds)
      // Runs whose learning rate is not known yet have equal keys, but are different runs.
      return { group: cell.branch ? groupOf(cell) : String(i), seconds: totalOf(seconds) }
    })
    wall += makespan(tasks, jobs)
  }
  return { wall, work }
}

export function diskOf({ phases }: Remaining, { bytes }: Measured, jobs: number, keepCheckpoints: boolean): DiskBytes {
  const [any] = bytes.values()
  const none: RunBytes = { checkpoint: 0, fixed: 0, step: 0, routing: 0 }
  const bytesOf = ({ config }: Cell) => bytes.get(shapeOf(config)) ?? any ?? none
  let logs = 0
  let kept = 0
  let most = 0
  for (const cells of phases) {
    const checkpoints = cells.map((cell) => bytesOf(cell).checkpoint * keptCheckpoints(cell))
    for (const cell of cells) logs += logsOf(cell, bytesOf(cell))
    const all = checkpoints.reduce((sum, size) => sum + size, 0)
    // A new checkpoint is complete before the older one is removed.
    const running = checkpoints.map((size, i) => size + bytesOf(cells[i] as Cell).checkpoint)
    const largest = running.toSorted((a, b) => b - a).slice(0, jobs)
    // A search keeps the checkpoints of a rung until the rung is complete.
    const waiting = keepCheckpoints || cells.some(({ budget }) => budget !== undefined) ? all : 0
    most = Math.max(most, waiting + largest.reduce((sum, size) => sum + size, 0))
    if (keepCheckpoints) kept += all
  }
  return { peak: logs + Math.max(most, kept), kept: logs + kept }
}

/** Number of checkpoints that a run has at a time: with the schedule `wsd` also the one at the start of its decay. */
const keptCheckpoints = ({ config }: Cell): number => (config.train.schedule.kind === 'wsd' ? 2 : 1)

function logsOf(cell: Cell, { fixed, step, routing }: RunBytes): number {
  // A branch is a copy of the run that it continues; a rung goes on in the same folder.
  const from = cell.budget ? firstStepOf(cell) : 0
  const steps = stepsOf(cell) - from
  return (from > 0 ? 0 : fixed) + steps * step + Math.ceil(steps / cell.config.train.routingEvery) * routing
}

/**
 * A budget of time chooses the number of seeds. It never chooses the steps: with fewer steps a study answers another
 * question, since arms that learn slowly look worse, while fewer seeds only make its intervals wider.
 */

/** Fewest seeds that a budget chooses: the interval of a difference needs two. */
const MIN_SEEDS = 2

export interface SeedChoice {
  /** Seconds of wall time. */
  readonly seconds: number
  /** The most seeds that fit, the first ones of the study; null if not even the fewest seeds fit. */
  readonly seeds: number | null
  /** Number of seeds of the study. */
  readonly of: number
  /** Seconds of the chosen seeds, or of the fewest ones if they do not fit; with all runs that sweeps may add. */
  readonly needed: number
  /**
   * If the fewest seeds do not fit: the share of the steps with which they would. It is null if no share would, because
   * starting, evaluations and step timing alone take longer.
   */
  readonly stepsShare: number | null
}

export interface Cost {
  readonly known: StudySeconds
  /** Seconds of the runs that sweeps may add at most; the budget covers them. */
  readonly possible: number
}

/** @param costOf Estimated time of what is left of the study, with its first `seeds` seeds. */
export async function chooseSeeds(
  seconds: number,
  available: number,
  costOf: (seeds: number) => Promise<Cost>,
): Promise<SeedChoice> {
  const fewest = Math.min(MIN_SEEDS, available)
  for (let seeds = available; ; seeds--) {
    const { known, possible } = await costOf(seeds)
    const needed = known.total + possible
    const choice = { seconds, of: available, needed }
    if (needed <= seconds) return { ...choice, seeds, stepsShare: null }
    if (seeds > fewest) continue
    // Of the runs that sweeps may add, training has the same share as of the known ones.
    const training = known.total > 0 ? (known.training * needed) / known.total : 0
    const share = training > 0 ? 1 - (needed - seconds) / training : 0
    return { ...choice, seeds: null, stepsShare: share > 0 ? share : null }
  }
}
