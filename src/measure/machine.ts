/** Measures the ceilings of this machine with the installed libraries: matmul rate and memory bandwidth. */
import type { RunConfig } from '../config/run-config.ts'
import { openRuntime } from '../run/session.ts'
import type { Runtime } from '../runtime/contract.ts'
import { type Engine, engineOf } from '../runtime/engine.ts'
import { measureBandwidth } from './bandwidth.ts'
import { measurePeakFlops } from './peak.ts'
import type { Ceilings } from './step-profile.ts'

export interface Machine extends Engine, Ceilings {
  /** A deviation from the requested engine. */
  readonly notice?: string
}

/** The matmul rate for profiles and benchmarks, from a larger product than trainings use. */
export const measureLargePeak = (runtime: Runtime): Promise<number> =>
  measurePeakFlops(runtime, { size: 2048, deviceSize: 4096, runs: 3 })

/** Takes a second or two. */
export async function measureMachine(config: Pick<RunConfig, 'runtime'>): Promise<Machine> {
  const runtime = await openRuntime(config)
  try {
    const { notice } = runtime
    const ceilings = { peakFlops: await measureLargePeak(runtime), bandwidth: await measureBandwidth(runtime) }
    return { ...engineOf(runtime), ...ceilings, ...(notice !== undefined && { notice }) }
  } finally {
    await runtime.close()
  }
}
