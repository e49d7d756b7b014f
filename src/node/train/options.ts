/** What a caller of `train` may set besides the configuration. */
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { TrainEvent } from '../../train/loop/events.ts'
import type { WeightsOf } from '../run/weights-source.ts'

export interface TrainOptions {
  readonly directory: string
  /** Continue the run in the directory from its newest intact checkpoint; default: the directory is new. */
  readonly resume?: boolean
  /**
   * With `resume`, the step of the checkpoint to continue from. The run goes back to it: records of later steps are removed
   * from its logs, and later checkpoints are renamed to `step-XXXXXXXX.aside`.
   */
  readonly checkpoint?: number | undefined
  /**
   * Begin with the weights of another run, at step 0 and with a new optimizer state, or with `fork` at the step and in the
   * state of its checkpoint. Its tokenizer comes along, and tensors must have its shapes. They are copied into a checkpoint.
   */
  readonly from?: WeightsOf | undefined
  /**
   * On abort the current step is finished, a checkpoint is written, and the summary has `interrupted`. Before the first
   * step nothing is written; what compiles then goes on in the background, and holds its memory until it is done.
   */
  readonly signal?: AbortSignal
  /** Record the steps after the warm-up; the summary has `profile` and `trace`. */
  readonly profile?: boolean
  /** Compress held-out text, so that the start has `gzipBitsPerByte` to compare bits per byte with. */
  readonly compareWithGzip?: boolean
  /** An error that it throws ends the training. In the library it may be async: see `train` there. */
  readonly onEvent?: (event: TrainEvent) => void
  /**
   * The processes that train together, of which this is one; all of them call `train` with the same arguments. Only the
   * first reads and writes logs. An error that is not the same on all ranks must end the job: see {@link Ranks}.
   */
  readonly ranks?: Ranks | null
}
