/** Options of `train` besides the configuration. */
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { TrainEvent } from '../../train/loop/events.ts'
import type { WeightsOf } from '../run/weights-source.ts'

export interface TrainOptions {
  readonly directory: string
  /** Whether to continue the run in the directory from its newest intact checkpoint. Default: a new run is begun. */
  readonly resume?: boolean
  /**
   * Step of the checkpoint to continue from, with `resume`. The run goes back to it: records of later steps are removed
   * from its logs, and later checkpoints are renamed to `step-XXXXXXXX.aside`.
   */
  readonly checkpoint?: number | undefined
  /**
   * Run with whose weights the new run begins: at step 0 and with a new optimizer state, or with `fork` at the step and
   * in the state of its checkpoint. The new run takes over its tokenizer, and tensors must have its shapes. The weights
   * are copied into a checkpoint of the new run.
   */
  readonly from?: WeightsOf | undefined
  /**
   * Signal that stops the training. On abort the current step is finished, a checkpoint is written, and the summary has
   * `interrupted`. Before the first step nothing is written; a compilation that has begun then goes on in the
   * background, and holds its memory until it is done.
   */
  readonly signal?: AbortSignal
  /** Whether the steps after the warm-up are recorded; the summary then has `profile` and `trace`. */
  readonly profile?: boolean
  /** Whether held-out text is compressed, so that the event `start` has `gzipBitsPerByte` for comparison. */
  readonly compareWithGzip?: boolean
  /** Receives events. An error that it throws ends the training. In the library it may be async: see `train` there. */
  readonly onEvent?: (event: TrainEvent) => void
  /**
   * The processes that train together, of which this is one; all of them call `train` with the same arguments. Only the
   * first reads and writes logs. An error that is not the same on all ranks must end the job: see {@link Ranks}.
   */
  readonly ranks?: Ranks | null
  /**
   * Index of the GPU that computes, with `runtime.device: webgpu`: see `choir devices`. Default: the GPU of `CHOIR_GPU`;
   * otherwise rank i of a machine uses its i-th GPU, and a process alone the fastest.
   */
  readonly gpu?: number | undefined
}
