/** Which backend runs, at which precision, on how many threads. */
import type { Precision, Runtime } from './contract.ts'

/** A runtime, described for people and records. */
export interface Engine {
  /** The library that runs kernels, e.g. `oneDNN 3.7.2`, or why there is none. */
  readonly provider: string
  /** Whether kernels run outside ONNX Runtime. */
  readonly kernels: boolean
  /** Actual precision of matrix products. */
  readonly math: Precision
  readonly threads: number
}

export const engineOf = ({ provider, kernels, math, threads }: Runtime): Engine => ({
  provider,
  kernels: kernels.names.size > 0,
  math,
  threads,
})
