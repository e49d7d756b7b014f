/** How long the parts of a program took: added up over runs, and one by one. */

/** Total time of one node over all runs that count. */
export interface NodeTime {
  /** ONNX operator or kernel, e.g. `MatMul`. */
  readonly kind: string
  /** What ran it. */
  readonly provider: 'ONNX Runtime' | 'oneDNN' | 'WASM'
  readonly op: string
  readonly layer: string
  readonly runs: number
  readonly microseconds: number
  /** Over all runs, where they are known: floating-point operations, and bytes of memory traffic at least. */
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
