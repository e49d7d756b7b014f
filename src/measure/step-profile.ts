/** The profile of training steps: where their time went, on what, and how fast the machine is at most. */
import type { Engine } from '../runtime/engine.ts'
import type { RecordedSteps } from '../step/timeline.ts'
import type { Ceilings } from './machine.ts'

/** Steps until primitives are compiled and memory is touched; fewer when there are few. */
export const PROFILE_WARM_UP = 5

export interface StepProfile extends RecordedSteps, Engine, Ceilings {}
