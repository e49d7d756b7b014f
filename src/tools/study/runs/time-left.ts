/**
 * The time left of a running study. The running trainings report how fast they are; runs that have not begun take the
 * pace of a training of the same shape, or are scaled by their FLOPs until there is one. So there is an estimate as soon
 * as the first training has done its first steps, and evaluations and step timing are in it.
 */
import type { Cell } from '../contract.ts'
import type { Activity } from '../events.ts'
import { stepsOf } from '../grid/cells.ts'
import type { Pace } from './pace.ts'
import { TIMED_STEPS, TURNS, WARM_UP_STEPS } from './timings.ts'
import { type Extras, Paces, secondsOf, totalOf } from './work.ts'

/** Time for which an estimate is only counted down, since a new one looks at every run of the study. */
const FRESH_SECONDS = 0.5

interface Running {
  readonly cell: Cell
  /** Seconds that the run still needs, at a time; null before its first step if no pace is known. */
  readonly left: number | null
  readonly at: number
}

export interface TimeLeftOptions {
  /** Number of runs at a time, and of threads of each run. */
  readonly jobs: number
  readonly threads: number
  /** Arms whose steps are still to be timed, and the threads for that. */
  readonly timed: readonly Cell[]
  readonly timingThreads: number
  readonly extras: Extras
  /** Seconds, monotonic. */
  readonly now?: () => number
}

export class TimeLeft {
  private readonly options: TimeLeftOptions
  private readonly now: () => number
  private readonly paces = new Paces()
  private readonly running = new Map<string, Running>()
  private phase: readonly Cell[] = []
  private later: readonly Cell[] = []
  private processes = 1
  private last: { readonly seconds: number | null; readonly at: number } | null = null

  constructor(options: TimeLeftOptions) {
    this.options = options
    this.now = options.now ?? (() => performance.now() / 1000)
  }

  /**
   * @param phase Runs of the phase that are not done; running ones may be among them.
   * @param later Runs of later phases.
   * @param processes Number of processes that work on the study; all are taken to be as fast as this one.
   */
  plan(phase: readonly Cell[], later: readonly Cell[], processes = 1): void {
    this.phase = phase
    this.later = later
    this.processes = processes
    this.last = null
  }

  begin(cell: Cell): void {
    const left = this.wholeOf(cell)
    this.running.set(cell.key, { cell, left, at: this.now() })
  }

  /** @param step Number of steps that are done. */
  update(cell: Cell, step: number, activity: Activity, pace: Pace | null): void {
    if (pace) this.paces.set(cell.config, pace)
    const known = pace ?? this.paces.of(cell.config)
    // The specialisation is the end of what follows the last step, so its time is already being counted down.
    const isCountedDown = activity === 'specialisation' && this.running.get(cell.key)?.left != null
    if (!known || isCountedDown) return
    const left = totalOf(secondsOf(cell, known, this.options.extras, Math.min(step, stepsOf(cell))))
    this.running.set(cell.key, { cell, left, at: this.now() })
  }

  end(cell: Cell): void {
    this.running.delete(cell.key)
    this.phase = this.phase.filter(({ key }) => key !== cell.key)
    this.last = null
  }

  /** Seconds until the study is done, without its report; null until a training has done its first steps. */
  seconds(): number | null {
    const now = this.now()
    if (this.last === null || this.last.seconds === null || now - this.last.at >= FRESH_SECONDS)
      this.last = { seconds: this.computed(now), at: now }
    const { seconds, at } = this.last
    return seconds === null ? null : Math.max(0, seconds - (now - at))
  }

  /** Seconds of timing all steps that are still to be timed; null if no pace is known. */
  timings(): number | null {
    const { timed, threads, timingThreads } = this.options
    let seconds = 0
    for (const { config } of timed) {
      const pace = this.paces.of(config)
      if (!pace) return null
      // Steps are timed with more threads than the runs have. Perfect scaling is a guess, until the first turn.
      const step = (pace.step * threads) / timingThreads
      seconds += TURNS * (pace.start + (WARM_UP_STEPS + TIMED_STEPS) * step)
    }
    return seconds
  }

  private computed(now: number): number | null {
    const workers = this.options.jobs * this.processes
    const begun: Task[] = []
    for (const { cell, left, at } of this.running.values()) {
      const whole = left ?? this.wholeOf(cell)
      if (whole === null) return null
      begun.push({ group: groupOf(cell), seconds: Math.max(0, whole - (now - at)) })
    }
    const waiting = this.tasksOf(this.phase.filter(({ key }) => !this.running.has(key)))
    const later = this.tasksOf(this.later)
    const timings = this.timings()
    if (waiting === null || later === null || timings === null) return null
    return makespan([...begun, ...waiting], workers) + makespan(later, workers) + timings
  }

  private tasksOf(cells: readonly Cell[]): Task[] | null {
    const tasks: Task[] = []
    for (const cell of cells) {
      const seconds = this.wholeOf(cell)
      if (seconds === null) return null
      tasks.push({ group: groupOf(cell), seconds })
    }
    return tasks
  }

  private wholeOf(cell: Cell): number | null {
    const pace = this.paces.of(cell.config)
    return pace && totalOf(secondsOf(cell, pace, this.options.extras))
  }
}

/** The wall time of runs that share a machine: as many workers as `--jobs`, each takes the next run of the list. */

export interface Task {
  /** Tasks of a group are done one after the other. */
  readonly group: string
  readonly seconds: number
}

/** The group of a run: the branches of an arm and a seed continue each other; any other run is independent. */
export const groupOf = ({ arm, seed, rate, key, branch }: Cell): string =>
  branch ? JSON.stringify([arm, seed, rate]) : key

/** Seconds until all tasks are done, if each of the workers takes the next group of the list whenever it is free. */
export function makespan(tasks: readonly Task[], workers: number): number {
  const groups = new Map<string, number>()
  for (const { group, seconds } of tasks) groups.set(group, (groups.get(group) ?? 0) + seconds)
  const busyUntil = new Array<number>(Math.max(1, Math.min(workers, groups.size))).fill(0)
  for (const seconds of groups.values()) {
    const next = busyUntil.indexOf(Math.min(...busyUntil))
    busyUntil[next] = (busyUntil[next] as number) + seconds
  }
  return Math.max(...busyUntil)
}
