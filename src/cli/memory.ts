/** The memory of a training that is known beforehand: what is kept from step to step, in float32. */
import type { RunConfig } from '../train/config.ts'

const FLOAT_BYTES = 4

/** Parameters, gradients and optimizer state; activations come on top while a step runs. */
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
      : { name: 'factored second moment (Adafactor)', bytes: total(factored) },
  ]
}

/** A row and a column mean for each matrix (every expert's has its own), all of a vector. */
function factored({ shape, parameters }: { readonly shape: readonly number[]; readonly parameters: number }): number {
  const [rows, columns] = shape.slice(-2)
  if (rows === undefined || columns === undefined) return parameters
  return (parameters / (rows * columns)) * (rows + columns)
}
