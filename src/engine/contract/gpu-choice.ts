/** Which GPU of a machine a process asks for; the runtime of GPUs decides (`src/engine/dawn/choose-gpu.ts`). */

/** A process among the processes of a machine that use a GPU each. */
export interface LocalPlace {
  readonly rank: number
  readonly size: number
}

export interface GpuChoice {
  /** Index among the GPUs of this machine, from 0. */
  readonly index?: number | undefined
  readonly place?: LocalPlace | undefined
}
