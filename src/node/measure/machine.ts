/** Measures the ceilings of this machine with the installed libraries: matmul rate and memory bandwidth. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { type Engine, engineOf } from '../../engine/contract/engine.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { measureBandwidth } from '../../train/measure/bandwidth.ts'
import { measurePeakFlops } from '../../train/measure/peak.ts'
import type { Ceilings } from '../../train/measure/step-profile.ts'
import { openRuntime } from '../run/session.ts'

export interface Machine extends Engine, Ceilings {
  /** How the engine deviates from the requested engine. */
  readonly notice?: string
}

/** The matmul rate for profiles and benchmarks, from a larger product than trainings use. */
export const measureLargePeak = (runtime: Runtime): Promise<number> =>
  measurePeakFlops(runtime, { size: 2048, deviceSize: 4096, runs: 3 })

/** Measures this machine, which takes a second or two. */
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
