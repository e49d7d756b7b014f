/**
 * Contract of an optimizer: `update` changes the parameters by the gradients in the store. It works on
 * flat memory and needs no layers, except where an algorithm depends on the shape of a matrix.
 */
import type { NamedTensor } from '../named-tensors.ts'

export interface UpdateSettings {
  /** Number of updates, this one included. */
  readonly step: number
  readonly learningRate: number
  /** Factor of the gradient, for clipping by the global norm. */
  readonly gradientScale: number
}

export interface Optimizer {
  /** Updates the owned tensors, or those of them with the given names. */
  update(settings: UpdateSettings, names?: ReadonlySet<string>): Promise<void>
  /** State for checkpoints, as views of live memory. */
  stateTensors(): readonly NamedTensor[]
}
