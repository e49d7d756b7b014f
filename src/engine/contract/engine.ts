/** Which backend runs, at which precision, on how many threads. */
import type { Precision, Runtime } from './runtime.ts'

/** A runtime, described for people and records. */
export interface Engine {
  /** The device of the runtime; absent for the CPU. */
  readonly device?: 'webgpu'
  /**
   * The library of matrix products, such as `oneDNN 3.7.2`, or why ONNX Runtime computes them; the GPU and its driver.
   */
  readonly provider: string
  /** Precision of matrix products, which may differ from the requested precision. */
  readonly math: Precision
  readonly threads: number
}

/** Whether oneDNN multiplies matrices, by the provider of an engine. */
export const usesDnnl = ({ provider }: Pick<Engine, 'provider'>): boolean => provider.startsWith('oneDNN')

export const engineOf = ({ device, provider, math, threads }: Runtime): Engine => ({
  ...(device !== 'cpu' && { device }),
  provider,
  math,
  threads,
})
