/** Written by `npx tsx bench/planner/fit-planner.ts`: constants fitted to published measurements. Do not edit. */
import type { Constants } from './constants.ts'
import type { IntervalsByProgram } from './intervals.ts'

/** Fitted to all rows. */
export const fitted: Constants = {
  v100: 1,
  a100: 0.8037,
  h100: 0.6246,
  blackwell: 0.5287,
  tpu: 0.878,
  any: 0.7485,
  pad: 186.7,
  bandwidth: 0.6152,
  attention: 0.4818,
  launch: 0.00001636,
  float8: 0.8764,
  dispatch: 0.9999,
}

/** Learnt from the rows of systems left out. */
export const intervalFactors: IntervalsByProgram = {
  megatron: { stepTime: 1.302, stepTimeUnfitted: 1.396, memory: 1.187 },
  fsdp: { stepTime: 1.204, stepTimeUnfitted: 1.451, memory: 1.311 },
}
