/** Events that a study emits while it runs. */
import type { Cell, PilotResult, RunRecord, Tuning } from './contract.ts'
import type { Rung } from './grid/search.ts'

/** The run that an event belongs to. `learningRate` is given unless it is the configured one of the arm. */
export interface RunName extends Pick<Cell, 'arm' | 'seed' | 'rate'> {
  readonly learningRate?: number
  /** Steps of the run in a study with branches, where an arm has several lengths. */
  readonly branchSteps?: number
}

/** The phases of a study in order; one without work is skipped. */
export type Phase = 'tuning' | 'confirm' | 'pilot' | 'runs' | 'search' | 'timings'

export type StudyEvent =
  | { readonly kind: 'prepare'; readonly message: string }
  | {
      readonly kind: 'study'
      readonly arms: number
      readonly seeds: number
      /** Lengths of training of each arm, the whole run included. */
      readonly branches: number
      /** Equal cells of several arms count once; runs at best rates that are still unknown do not count. */
      readonly runs: number
      readonly finished: number
      /** Known trials of learning-rate sweeps. */
      readonly trials: number
      readonly finishedTrials: number
      readonly jobs: number
      readonly threads: number
    }
  | {
      /** A search, instead of `study`. */
      readonly kind: 'search'
      /** Configurations of the first rung. */
      readonly configurations: number
      readonly rungs: readonly Rung[]
      /** Trainings of all rungs. */
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
      /** How many go on. */
      readonly promoted: number
    }
  | {
      readonly kind: 'phase'
      readonly phase: Phase
      /** Of a search: the steps of its trainings, and the place of the rung. */
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
    } & RunName)
  | ({
      readonly kind: 'end'
      readonly record: RunRecord
      /** Held-out loss at the capacity rule of the study; null if the run failed. */
      readonly loss: number | null
      /** Runs of the phase: done, and all. */
      readonly finished: number
      readonly runs: number
      /** As in the event of the phase, without what this and other processes have done since. */
      readonly flopsLeft: number
    } & RunName)
  /** Nothing is left to do in the phase but runs that other processes do, each named by `by`. */
  | { readonly kind: 'waiting'; readonly runs: readonly (RunName & { readonly by: string })[] }
  | ({
      readonly kind: 'tuned'
      readonly edge: 'lowest' | 'highest' | null
      /** The configured rate of the arm. */
      readonly common: number
    } & Tuning)
  | ({ readonly kind: 'pilot' } & PilotResult)
  | { readonly kind: 'timing'; readonly arm: string; readonly turn: number; readonly turns: number }
  | { readonly kind: 'note'; readonly message: string }
