/** Profile of training steps: times by node, the engine, and the ceilings of the machine. */
import type { Engine } from '../../engine/contract/engine.ts'
import type { RecordedSteps } from '../step/metrics/timeline.ts'

/**
 * Number of steps before recording, until primitives are compiled and all memory has been used once; a short run has
 * fewer.
 */
export const PROFILE_WARM_UP = 5

/** Highest rates of a machine. */
export interface Ceilings {
  /** Measured rate of large matmuls in the engine's precision, FLOP/s. */
  readonly peakFlops: number
  /** Measured memory traffic of all threads, bytes per second. */
  readonly bandwidth: number
}

export interface StepProfile extends RecordedSteps, Engine, Ceilings {}
