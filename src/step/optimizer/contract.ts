/**
 * An optimizer: `update` moves the parameters along the gradients that lie in the store. It works on
 * flat memory and knows nothing of layers, except where an algorithm needs the shape of a matrix.
 */
import type { NamedTensor } from '../store.ts'

export interface UpdateSettings {
  /** Updates so far, this one included. */
  readonly step: number
  readonly learningRate: number
  /** The gradient is multiplied by this: clipping by the global norm. */
  readonly gradientScale: number
}

export interface Optimizer {
  update(settings: UpdateSettings): Promise<void>
  /** State to save in a checkpoint, as views of live memory. */
  stateTensors(): readonly NamedTensor[]
}
