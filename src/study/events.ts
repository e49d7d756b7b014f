/** What can be followed while a study runs. */
import type { RunRecord } from './contract.ts'

export type StudyEvent =
  | { readonly kind: 'prepare'; readonly message: string }
  | {
      readonly kind: 'study'
      readonly arms: number
      readonly seeds: number
      /** Runs: equal cells of several arms count once. */
      readonly runs: number
      readonly finished: number
      readonly jobs: number
      readonly threads: number
      /** Model FLOPs of the runs that are left, an estimate from configurations. */
      readonly flopsLeft: number
    }
  | { readonly kind: 'begin'; readonly arm: string; readonly seed: number; readonly flops: number }
  | {
      readonly kind: 'progress'
      readonly arm: string
      readonly seed: number
      readonly step: number
      readonly steps: number
      readonly loss: number | null
    }
  | {
      readonly kind: 'end'
      readonly arm: string
      readonly seed: number
      readonly record: RunRecord
      /** Runs done, of all. */
      readonly finished: number
      readonly runs: number
    }
  | { readonly kind: 'timing'; readonly arm: string; readonly turn: number; readonly turns: number }
  | { readonly kind: 'note'; readonly message: string }
