/** The training state, everything in memory that lasts from step to step, in float32. */
import type { RunConfig } from '../config/run-config.ts'
import { factoredSize } from '../step/optimizer/factored-size.ts'

const FLOAT_BYTES = 4

/** Bytes of parameters, gradients and optimizer state. The activations of a running step are not included. */
export function stateMemory(
  optimizer: RunConfig['train']['optimizer']['kind'],
  tensors: readonly { readonly shape: readonly number[]; readonly parameters: number }[],
): { name: string; bytes: number }[] {
  const total = (floats: (tensor: (typeof tensors)[number]) => number) =>
    FLOAT_BYTES * tensors.reduce((sum, tensor) => sum + floats(tensor), 0)
  const parameters = total((tensor) => tensor.parameters)
  return [
    { name: 'parameters', bytes: parameters },
    { name: 'gradients', bytes: parameters },
    optimizer === 'adamw'
      ? { name: 'first and second moments (AdamW)', bytes: 2 * parameters }
      : { name: 'factored second moment (Adafactor)', bytes: total(({ shape }) => factoredSize(shape)) },
  ]
}
