/** What this machine can do at most, with what is installed on it. */
import type { Precision, Runtime } from '../runtime/index.ts'
import { measureBandwidth } from './bandwidth.ts'
import type { RunConfig } from './config.ts'
import { measurePeakFlops } from './peak.ts'
import { openRuntime } from './session.ts'

/** What computes. */
export interface Engines {
  /** What runs kernels, e.g. `oneDNN 3.7.2`; or why nothing does. */
  readonly provider: string
  /** Whether kernels run outside ONNX Runtime. */
  readonly kernels: boolean
  /** Precision that matrix products really have. */
  readonly math: Precision
  readonly threads: number
}

export interface Ceilings {
  /** Measured rate of large matmuls in that precision, FLOP/s. */
  readonly peakFlops: number
  /** Measured memory traffic of all threads, bytes a second. */
  readonly bandwidth: number
}

export interface Machine extends Engines, Ceilings {
  /** What differs from what was asked. */
  readonly notice?: string
}

export const enginesOf = ({ provider, kernels, math, threads }: Runtime): Engines => ({
  provider,
  kernels: kernels.names.size > 0,
  math,
  threads,
})

/** The matmul rate as profiles and benchmarks measure it: a larger product than trainings take the time for. */
export const measureLargePeak = (runtime: Runtime): Promise<number> => measurePeakFlops(runtime, 2048, 3)

/** Takes a second or two. */
export async function measureMachine(config: Pick<RunConfig, 'runtime'>): Promise<Machine> {
  const runtime = await openRuntime(config)
  try {
    const { notice } = runtime
    const ceilings = { peakFlops: await measureLargePeak(runtime), bandwidth: await measureBandwidth(runtime) }
    return { ...enginesOf(runtime), ...ceilings, ...(notice !== undefined && { notice }) }
  } finally {
    await runtime.close()
  }
}
