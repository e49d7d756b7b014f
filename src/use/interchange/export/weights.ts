/** The parameters of a loaded model, read one at a time. */
import { readRange } from '../../../engine/contract/arena.ts'
import { parameterTensors } from '../../../train/step/store/named-tensors.ts'
import type { ParameterStore } from '../../../train/step/store/store.ts'

/** Tensors by their names in checkpoints, where every expert is a tensor: `layers.0.moe.experts.3.up`. */
export interface Weights {
  shape(name: string): readonly number[]
  /** The numbers row by row, as a view or a copy that must not be changed. */
  read(name: string): Promise<Float32Array>
}

export function weightsOf(store: ParameterStore): Weights {
  const tensors = new Map(parameterTensors(store).map((tensor) => [tensor.name, tensor]))
  const find = (name: string) => {
    const tensor = tensors.get(name)
    if (!tensor) throw new Error(`internal: no parameter ${name}`)
    return tensor
  }
  return { shape: (name) => find(name).shape, read: (name) => readRange(find(name).range) }
}
