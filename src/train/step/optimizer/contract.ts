/**
 * Contract of an optimizer: `update` changes the parameters by the gradients in the store. It works on
 * flat memory and needs no layers, except where an algorithm depends on the shape of a matrix.
 */
import type { Gate } from '../../../engine/contract/arena-kernels.ts'
import type { Executable } from '../../../engine/contract/runtime.ts'
import type { NamedTensor } from '../store/named-tensors.ts'

export interface UpdateSettings {
  /** Number of updates, this one included. */
  readonly step: number
  readonly learningRate: number
}

export interface Optimizer {
  /**
   * Updates the owned tensors, or only the owned tensors with the given names, if the gate is open.
   * @param gate The gate of the gradients; it has the factor that clips them.
   */
  update(settings: UpdateSettings, gate: Gate, names?: ReadonlySet<string>): Promise<void>
  /** State for checkpoints, in live memory. */
  stateTensors(): readonly NamedTensor[]
  /** The programs of an optimizer of the user's own; the others are arena kernels. Release them in the end. */
  readonly programs?: readonly Executable[]
}
