/** Events that a study emits while it runs. */
import type { Cell, Match, PilotResult, Prediction, Rung, RunRecord, Tuning } from './contract.ts'

/** The run that an event belongs to. `learningRate` is given unless it is the rate that the arm is configured with. */
export interface RunName extends Pick<Cell, 'arm' | 'seed' | 'rate'> {
  readonly learningRate?: number
  /** Steps of the run in a study with branches, where an arm has several lengths. */
  readonly branchSteps?: number
}

/** The phases of a study in order; a phase without work is skipped. */
export type Phase = 'tuning' | 'confirm' | 'runs' | 'search' | 'timings'

/** What a training does: its steps, an evaluation during or after them, or the measurement of its specialisation. */
export type Activity = 'training' | 'evaluation' | 'specialisation'

export type StudyEvent =
  | { readonly kind: 'prepare'; readonly message: string }
  | {
      readonly kind: 'study'
      readonly arms: number
      readonly seeds: number
      /** Lengths of training of each arm, the whole run included. */
      readonly branches: number
      /** Number of runs: equal cells of several arms count once, and runs at unknown best rates do not count. */
      readonly runs: number
      readonly finished: number
      /** Number of trials of learning-rate sweeps that are known so far. */
      readonly trials: number
      readonly finishedTrials: number
      readonly jobs: number
      readonly threads: number
    }
  /** An arm with a field that was solved for; `mismatch` is the difference that remains, as a share. */
  | ({ readonly kind: 'match'; readonly mismatch: number } & Match)
  | {
      /** The predictions of the study. */
      readonly kind: 'predictions'
      readonly predictions: readonly Prediction[]
      readonly sha256: string
      /** When they were registered, and how many results there were then; null if they are not registered yet. */
      readonly at: string | null
      readonly ended: number | null
      /** Number of earlier registrations, whose predictions, arms or seeds were others. */
      readonly changes: number
    }
  | {
      /** Emitted for a search, instead of `study`. */
      readonly kind: 'search'
      /** Number of configurations in the first rung. */
      readonly configurations: number
      readonly rungs: readonly Rung[]
      /** Number of trainings in all rungs. */
      readonly runs: number
      readonly finished: number
      readonly jobs: number
      readonly threads: number
    }
  | {
      /** A rung of a search is complete. */
      readonly kind: 'rung'
      readonly steps: number
      /** The best configuration so far. */
      readonly best: string
      readonly loss: number
      /** Number of configurations that go on to the next rung. */
      readonly promoted: number
    }
  | {
      readonly kind: 'phase'
      readonly phase: Phase
      /** Set in a search: the steps of the rung's trainings, its number, and the number of rungs. */
      readonly rung?: { readonly steps: number; readonly number: number; readonly of: number }
      /** Runs, trials or timing turns of the phase, including those done before this start of the study. */
      readonly runs: number
      readonly finished: number
      /** Model FLOPs of all remaining runs of the study, estimated from their configurations. */
      readonly flopsLeft: number
    }
  | ({ readonly kind: 'begin'; readonly flops: number } & RunName)
  | ({
      readonly kind: 'progress'
      readonly step: number
      readonly steps: number
      readonly loss: number | null
      readonly activity: Activity
      readonly secondsLeft: number | null
    } & RunName)
  | ({
      readonly kind: 'end'
      readonly record: RunRecord
      /** Held-out loss at the capacity rule of the study; null if the run failed. */
      readonly loss: number | null
      /** Number of runs of the phase that are done, and of all its runs. */
      readonly finished: number
      readonly runs: number
      /** Model FLOPs as in the event of the phase, minus the runs that this process and others have done since. */
      readonly flopsLeft: number
      /** Seconds until the whole study is done, with its evaluations and step timing; null if no pace is known yet. */
      readonly secondsLeft: number | null
    } & RunName)
  /** All runs that are left in the phase are being done by other processes; `by` is the name of the process. */
  | { readonly kind: 'waiting'; readonly runs: readonly (RunName & { readonly by: string })[] }
  | ({
      readonly kind: 'tuned'
      readonly edge: 'lowest' | 'highest' | null
      /** The configured rate of the arm. */
      readonly common: number
    } & Tuning)
  | ({ readonly kind: 'pilot' } & PilotResult)
  | {
      readonly kind: 'timing'
      readonly arm: string
      readonly turn: number
      readonly turns: number
      readonly secondsLeft: number | null
    }
  | { readonly kind: 'note'; readonly message: string }
