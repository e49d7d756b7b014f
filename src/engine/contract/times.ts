/** Times of the parts of a program: totals over runs, and single events. */

/** Total time of one node over all counted runs. */
export interface NodeTime {
  /** ONNX operator or kernel, e.g. `MatMul`. */
  readonly kind: string
  /** The library that ran the node. */
  readonly provider: 'ONNX Runtime' | 'oneDNN' | 'WASM' | 'MPI' | 'WebGPU'
  readonly op: string
  readonly layer: string
  readonly runs: number
  readonly microseconds: number
  /** Floating-point operations over all runs, and a lower bound of bytes of memory traffic, if known. */
  readonly flops?: number
  readonly bytes?: number
}

/** One step of a program on one thread. Times are in ms since the epoch, with fractions. */
export interface StepEvent {
  readonly thread: number
  readonly name: string
  readonly op: string
  readonly layer: string
  readonly begin: number
  readonly end: number
}
