/** The batches of a training, read while steps compute. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { type Batch, trainBatch } from '../data/batches.ts'
import type { Dataset } from '../data/dataset.ts'

/** Two alternating batches: the next one is read while a step computes. */
export class Batches {
  private readonly buffers: readonly [Batch, Batch]
  private readonly data: Pick<Dataset, 'train'>
  private readonly config: RunConfig

  constructor(data: Pick<Dataset, 'train'>, config: RunConfig) {
    const size = config.train.batch * config.model.sequence
    const empty = (): Batch => ({ tokens: new Int32Array(size), targets: new Int32Array(size) })
    this.buffers = [empty(), empty()]
    this.data = data
    this.config = config
  }

  of(step: number): Batch {
    return this.buffers[step % 2 === 0 ? 0 : 1]
  }

  /** Reads the batch of a step; does nothing after the last step. */
  load(step: number): void {
    const { train, model, data } = this.config
    if (step > train.steps) return
    const shape = { batch: train.batch, sequence: model.sequence }
    trainBatch(this.data.train, shape, data.order ?? data.seed, step - 1, this.of(step))
  }
}
