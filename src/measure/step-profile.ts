/** Profile of training steps: times by node, the engine, and the ceilings of the machine. */
import type { Engine } from '../runtime/engine.ts'
import type { RecordedSteps } from '../step/timeline.ts'
import type { Ceilings } from './machine.ts'

/** Steps before recording, until primitives are compiled and all memory has been used once; fewer in a short run. */
export const PROFILE_WARM_UP = 5

export interface StepProfile extends RecordedSteps, Engine, Ceilings {}
