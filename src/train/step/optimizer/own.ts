/**
 * Optimizers of a user's own: the update of one parameter as a graph of `choir/graph`, traced once for each kind of
 * parameter. A rule sees a parameter as it is in the model, a whole matrix, so that it may multiply matrices; of a
 * stacked parameter it sees one expert.
 */
import { UsageError } from '../../../core/errors.ts'
import { formatShape } from '../../../core/graph/shape.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import { type PluginSettings, Plugins } from '../../../core/plugins.ts'

/** What a parameter is for: `vector` is a norm or a bias, `matrix` every matrix that has no word of its own here. */
export type ParameterRole = 'embedding' | 'positions' | 'matrix' | 'router' | 'head' | 'vector'

/** A parameter of the model, as an optimizer sees it. */
export interface OptimizerParameter {
  /** Its name, such as `layers.0.attention.qkv`; of experts with `{e}`, `layers.0.moe.experts.{e}.up`. */
  readonly name: string
  readonly role: ParameterRole
  /** Its shape: [rows, columns] of a matrix, also of one expert, and [size] of a vector. */
  readonly shape: readonly number[]
  /** The settings `train.optimizer.settings`, with the optimizer's defaults. */
  readonly settings: PluginSettings
}

/** What the update of a parameter is computed from. */
export interface OptimizerInput extends OptimizerParameter {
  /** The parameter before the update, float32, of `shape`. */
  readonly parameter: Tensor
  /** Its gradient, of `shape`: summed over micro-batches and ranks, and clipped by `train.optimizer.clip`. */
  readonly gradient: Tensor
  /** The state after the last update, by name; zeros before the first. */
  readonly state: Readonly<Record<string, Tensor>>
  /** Learning rate of this step for this parameter, a scalar: `train.schedule` with the factor of experts or routers. */
  readonly rate: Tensor
  /** Number of updates with this one, a scalar from 1; steps that are skipped do not count. */
  readonly step: Tensor
  /** Decoupled weight decay of this parameter: a step should multiply it by 1 − rate · weightDecay. 0: it has none. */
  readonly weightDecay: number
  /** The settings of these names in `train.optimizer`. */
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
}

/** A parameter after its update, and its state, with the shapes that they had. */
export interface OptimizerResult {
  readonly parameter: Tensor
  /** All tensors of the state, by name. It may be left out if there are none. */
  readonly state?: Readonly<Record<string, Tensor>>
}

/** An optimizer with its name. */
export interface OwnOptimizer {
  readonly name: string
  /** Settings of its own, each with its default: numbers, text, true or false. */
  readonly settings?: PluginSettings
  /** Shapes of the tensors of a parameter's state, by name. They are zeros at the start. Default: no state. */
  readonly state?: (parameter: OptimizerParameter) => Readonly<Record<string, readonly number[]>>
  /** Traces the update of a parameter. It must depend on its input alone. */
  readonly update: (input: OptimizerInput) => OptimizerResult
}

/** An optimizer whose functions check what they return. */
type Checked = OwnOptimizer & Required<Pick<OwnOptimizer, 'state' | 'settings'>>

/** Optimizers that `train.optimizer.own` names. */
export const ownOptimizers = new Plugins<OwnOptimizer>(
  'optimizer',
  { settings: 'optional settings', state: 'optional function', update: 'function' },
  checked,
)

/** An optimizer of the user's own, by its name and hash. @throws UsageError if it is not registered */
export const ownOptimizer = (id: string | null): Checked => ownOptimizers.get(id) as Checked

export const optimizerFault = ({ name }: Pick<OwnOptimizer, 'name'>, message: string): UsageError =>
  new UsageError(`optimizer ${name}: ${message}`)

function checked(optimizer: OwnOptimizer): Checked {
  const called = <T>(what: string, body: () => T): T => {
    try {
      return body()
    } catch (error) {
      throw optimizerFault(optimizer, `${what}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const state = (parameter: OptimizerParameter) => {
    const of = `state of ${parameter.name}`
    const shapes = called(of, () => optimizer.state?.(parameter) ?? {})
    for (const [key, shape] of Object.entries(shapes)) {
      if (!/^[a-zA-Z][a-zA-Z0-9]{0,39}$/.test(key))
        throw optimizerFault(optimizer, `${of} has the name ${JSON.stringify(key)} (expected letters and digits)`)
      if (!Array.isArray(shape) || !shape.every((size) => Number.isInteger(size) && size > 0))
        throw optimizerFault(
          optimizer,
          `${of} has ${key} with the shape ${JSON.stringify(shape)} (expected positive integers, [1] for a single number)`,
        )
    }
    return shapes
  }
  const update = (input: OptimizerInput): OptimizerResult => {
    const of = `update of ${input.name}`
    const result: Partial<OptimizerResult> | undefined = called(of, () => optimizer.update(input))
    const expect = (name: string, tensor: Partial<Tensor> | undefined, { shape }: Pick<Tensor, 'shape'>) => {
      if (tensor?.dtype === 'float32' && JSON.stringify(tensor.shape) === JSON.stringify(shape)) return
      const found = tensor?.shape ? `${tensor.dtype} ${formatShape(tensor.shape)}` : typeof tensor
      throw optimizerFault(
        optimizer,
        `${of} returned ${name} as ${found} (expected a tensor float32 ${formatShape(shape)})`,
      )
    }
    expect('parameter', result?.parameter, input)
    const returned = result?.state ?? {}
    for (const [key, tensor] of Object.entries(input.state)) expect(`state.${key}`, returned[key], tensor)
    const unknown = Object.keys(returned).find((key) => !(key in input.state))
    if (unknown !== undefined)
      throw optimizerFault(optimizer, `${of} returned state.${unknown}, which its function state does not name`)
    return result as OptimizerResult
  }
  return { ...optimizer, settings: optimizer.settings ?? {}, state, update }
}
