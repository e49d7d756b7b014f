/** Which backend runs, at which precision, on how many threads. */
import type { Precision, Runtime } from './runtime.ts'

/** A runtime, described for people and records. */
export interface Engine {
  /** Absent for the CPU. */
  readonly device?: 'webgpu'
  /** The library that runs kernels, e.g. `oneDNN 3.7.2`, or why there is none; the GPU and its driver. */
  readonly provider: string
  /** Whether kernels run outside ONNX Runtime. */
  readonly kernels: boolean
  /** Actual precision of matrix products. */
  readonly math: Precision
  readonly threads: number
}

export const engineOf = ({ device, provider, kernels, math, threads }: Runtime): Engine => ({
  ...(device !== 'cpu' && { device }),
  provider,
  kernels: kernels.names.size > 0,
  math,
  threads,
})
