/** The batches of a training, read while steps compute. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { type Batch, type TrainingReplay, trainBatch } from '../data/batches.ts'
import type { Dataset } from '../data/dataset.ts'

interface Buffer extends Batch {
  /** The step whose batch the buffer holds; 0 while it is empty. */
  step: number
}

/** Two alternating batches: the next one is read while a step computes. */
export class Batches {
  private readonly buffers: readonly [Buffer, Buffer]
  private readonly data: Pick<Dataset, 'train'>
  private readonly config: RunConfig
  private readonly replay: TrainingReplay | null

  constructor(data: Pick<Dataset, 'train'>, config: RunConfig, replay: TrainingReplay | null = null) {
    const size = config.train.batch * config.model.sequence
    const empty = (): Buffer => ({
      tokens: new Int32Array(size),
      targets: new Int32Array(size),
      ...(replay && { experts: replay.choices.map((choices) => new Int32Array(size * choices)) }),
      step: 0,
    })
    this.buffers = [empty(), empty()]
    this.data = data
    this.config = config
    this.replay = replay
  }

  /**
   * The batch of a step, read now unless it was loaded before. It stays valid until the batch of the step after next is
   * loaded.
   */
  of(step: number): Batch {
    this.load(step)
    return this.buffer(step)
  }

  /** Reads the batch of a step; does nothing after the last step. */
  load(step: number): void {
    const { train, model, data } = this.config
    const buffer = this.buffer(step)
    if (step > train.steps || buffer.step === step) return
    const shape = { batch: train.batch, sequence: model.sequence }
    trainBatch(this.data.train, shape, data.order ?? data.seed, step - 1, buffer, this.replay)
    buffer.step = step
  }

  private buffer(step: number): Buffer {
    return this.buffers[step % 2 === 0 ? 0 : 1]
  }
}
