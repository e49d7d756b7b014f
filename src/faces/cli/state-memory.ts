/** The training state: everything in memory that lasts from step to step. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { matchesName, patternName } from '../../core/model/freeze.ts'
import { momentLayout } from '../../engine/contract/moments.ts'
import { factoredSize } from '../../train/step/optimizer/factored-size.ts'

const FLOAT_BYTES = 4

/**
 * Bytes of all parameters, and of the gradients and the optimizer state of parameters that are not frozen. The
 * activations of a running step are not included.
 * @param ownNumbers Numbers in the state of an optimizer of the user's own.
 */
export function stateMemory(
  { optimizer, freeze }: Pick<RunConfig['train'], 'optimizer' | 'freeze'>,
  tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly parameters: number }[],
  ownNumbers = 0,
): { name: string; bytes: number }[] {
  const isFrozen = (tensor: (typeof tensors)[number]) =>
    freeze.some((pattern) => matchesName(pattern, patternName(tensor)))
  const trained = tensors.filter((tensor) => !isFrozen(tensor))
  const bytes = (of: typeof tensors, floats: (tensor: (typeof tensors)[number]) => number) =>
    FLOAT_BYTES * of.reduce((sum, tensor) => sum + floats(tensor), 0)
  const { kind, state } = optimizer
  const moments = (count: number) => (state === 'float32' ? 2 * count : momentLayout(state, count).floats)
  const gradients = bytes(trained, ({ parameters }) => parameters)
  const ofOwn = { name: `state of ${optimizer.own}`, bytes: FLOAT_BYTES * ownNumbers }
  return [
    { name: 'parameters', bytes: bytes(tensors, ({ parameters }) => parameters) },
    { name: 'gradients', bytes: gradients },
    kind === 'own'
      ? ofOwn
      : kind === 'adamw'
        ? {
            name: `first and second moments (AdamW${state === 'float32' ? '' : `, ${state}`})`,
            bytes: bytes(trained, ({ parameters }) => moments(parameters)),
          }
        : { name: 'factored second moment (Adafactor)', bytes: bytes(trained, ({ shape }) => factoredSize(shape)) },
  ]
}
