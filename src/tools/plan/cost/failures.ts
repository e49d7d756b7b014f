/**
 * Time that failures and checkpoints add to a training. Failures come at random at a constant rate (a Poisson process);
 * each loses the work since the last checkpoint and takes the time of a restart. Formulas: Daly, "A higher order
 * estimate of the optimum checkpoint interval for restart dumps" (2006).
 */
import type { Cluster } from '../inputs/cluster.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import type { ParameterCounts } from '../work/parameter-counts.ts'
import { checkpointBytesOf } from './state.ts'

/**
 * Mean device-hours between failures in published trainings. Few: OPT-175B, 1,024 A100 with a failure every 7.5 hours,
 * by a survey (other accounts of this training give up to 25,000).
 * Many: Llama 3 405B, 16,384 H100 with 419 unexpected interruptions in 54 days. Middle: the geometric mean.
 */
export const publishedDeviceHours = { few: 7_700, middle: 20_000, many: 51_000 } as const

/** Expected number of failures in a training from which they are shown. */
export const LIKELY_FAILURES = 0.5

/** Goodput below which a training takes over a hundred times as long as its steps. */
export const NO_PROGRESS = 0.01

export interface Failures {
  /** Mean device-hours between failures. */
  readonly deviceHours: number
  /** Mean time between failures of the cluster. */
  readonly everySeconds: number
  /** Size of a checkpoint: weights, and the state of the optimizer. */
  readonly checkpointBytes: number
  /** Time in which all devices write a checkpoint, during which the training waits. */
  readonly checkpointSeconds: number
  /** Time of training between checkpoints. */
  readonly checkpointEvery: number
  /** Time from a failure to the first step after it. */
  readonly restartSeconds: number
  /** Share of the time in which steps are computed that are not lost. */
  readonly goodput: number
  /** Goodput at the ends of the published range of device-hours; null if the cluster has a rate of its own. */
  readonly range: { readonly few: number; readonly many: number } | null
}

/** The failures of a run on a cluster, with checkpoints every `plan.checkpointEvery`, or as often as is best. */
export function failuresOf(run: PlannedRun, cluster: Cluster, counts: ParameterCounts): Failures {
  const { failures, storage, devices } = cluster
  const checkpointBytes = checkpointBytesOf(run, counts)
  const write = checkpointBytes / (storage * devices)
  const at = (deviceHours: number) => {
    const mean = (deviceHours / devices) * 3600
    const every = run.plan.checkpointEvery ?? bestInterval(write, mean)
    return { mean, every, goodput: goodputOf(every, write, failures.restart, mean) }
  }
  const { few, middle, many } = publishedDeviceHours
  const { deviceHours = middle } = failures
  const { mean, every, goodput } = at(deviceHours)
  return {
    deviceHours,
    everySeconds: mean,
    checkpointBytes,
    checkpointSeconds: write,
    checkpointEvery: every,
    restartSeconds: failures.restart,
    goodput,
    range: failures.deviceHours === undefined ? { few: at(few).goodput, many: at(many).goodput } : null,
  }
}

/**
 * The interval between checkpoints with the shortest training (Daly's higher-order estimate). All times in seconds.
 * @param write Time to write a checkpoint.
 * @param mean Mean time between failures.
 */
export function bestInterval(write: number, mean: number): number {
  if (write >= 2 * mean) return mean
  const ratio = write / (2 * mean)
  return Math.sqrt(2 * write * mean) * (1 + Math.sqrt(ratio) / 3 + ratio / 9) - write
}

/**
 * The time of steps over the expected time of the training (Daly). All times in seconds.
 * @param every Time of training between checkpoints.
 * @param write Time to write a checkpoint.
 * @param restart Time from a failure to the first step after it; another failure may come before.
 * @param mean Mean time between failures.
 */
export const goodputOf = (every: number, write: number, restart: number, mean: number): number =>
  every / (mean * Math.exp(restart / mean) * Math.expm1((every + write) / mean))
