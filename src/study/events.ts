/** Events that a study emits while it runs. */
import type { Cell, PilotResult, RunRecord, Tuning } from './contract.ts'

/** Which run an event is of. `learningRate` is given where it is not the one that the arm is configured with. */
export interface RunName extends Pick<Cell, 'arm' | 'seed' | 'rate'> {
  readonly learningRate?: number
}

/** A study goes through these in order; those that have nothing to do are left out. */
export type Phase = 'tuning' | 'pilot' | 'runs' | 'timings'

export type StudyEvent =
  | { readonly kind: 'prepare'; readonly message: string }
  | {
      readonly kind: 'study'
      readonly arms: number
      readonly seeds: number
      /** Runs: equal cells of several arms count once. Best rates that are not known yet are not among them. */
      readonly runs: number
      readonly finished: number
      /** Trials of sweeps of learning rates, as far as they are known. */
      readonly trials: number
      readonly finishedTrials: number
      readonly jobs: number
      readonly threads: number
    }
  | {
      readonly kind: 'phase'
      readonly phase: Phase
      /** Runs of the phase, trials, or turns of timings; those of earlier sittings included. */
      readonly runs: number
      readonly finished: number
      /** Model FLOPs of all that is left of the study, an estimate from configurations. */
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
      /** Held-out loss at the capacity rule of the study; null where the run failed. */
      readonly loss: number | null
      /** Runs done, of all of the phase. */
      readonly finished: number
      readonly runs: number
    } & RunName)
  | ({
      readonly kind: 'tuned'
      readonly edge: 'lowest' | 'highest' | null
      /** The rate that the arm is configured with. */
      readonly common: number
    } & Tuning)
  | ({ readonly kind: 'pilot' } & PilotResult)
  | { readonly kind: 'timing'; readonly arm: string; readonly turn: number; readonly turns: number }
  | { readonly kind: 'note'; readonly message: string }
