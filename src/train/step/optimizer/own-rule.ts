/** The rule of an optimizer of the user's own in one training: the state and the program of each parameter's update. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { multiply } from '../../../core/graph/ops/elementwise.ts'
import { type Program, reach } from '../../../core/graph/program.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { input, scope, type Tensor } from '../../../core/graph/tensor.ts'
import { pluginSettings } from '../../../core/model/config/plugin-settings.ts'
import { withFrozen } from '../../../core/model/freeze.ts'
import { type ParameterSpec, parameterSpecs } from '../../../core/model/parameters.ts'
import { isRouterBias } from '../../../core/model/routing/router-bias.ts'
import { paddedFloats } from '../store/bank.ts'
import type { Share } from '../store/placement.ts'
import { type OptimizerParameter, optimizerFault, ownOptimizer, type ParameterRole } from './own.ts'
import { tensorUpdate, type UpdateConfig } from './tensor-update.ts'
import { isRouter } from './updated.ts'

export interface Rule {
  /** Shapes of the state's tensors, by name, of a parameter or of one expert. */
  state(spec: ParameterSpec): Readonly<Record<string, readonly number[]>>
  /**
   * The update. Inputs are `parameter`, `gradient` and `state.NAME`, and the scalars `scale` of the gradient, `rate` and
   * `step`, as far as the rule reads them. Outputs are `new parameter` and `new state.NAME`.
   * @throws UsageError naming the parameter if the rule returns something else than these tensors
   */
  trace(spec: ParameterSpec): Program
}

/** @throws UsageError if the optimizer is not registered, or a setting is not one of its settings */
export function ruleOf(config: UpdateConfig): Rule {
  const { own: id, settings: given, beta1, beta2, epsilon } = config.optimizer
  const own = ownOptimizer(id)
  const settings = pluginSettings('train.optimizer.settings', own.settings, given)
  const parameterOf = (spec: ParameterSpec): OptimizerParameter => {
    return { name: spec.name, role: roleOf(spec), shape: shapeOf(spec), settings }
  }
  const state = (spec: ParameterSpec) => own.state(parameterOf(spec))
  const trace = (spec: ParameterSpec): Program => {
    const parameter = parameterOf(spec)
    const { shape } = parameter
    const scalar = (name: string) => input(name, 'float32', [])
    const known: Record<string, Tensor> = {
      parameter: input('parameter', 'float32', shape),
      gradient: input('gradient', 'float32', shape),
      scale: scalar('scale'),
      rate: scalar('rate'),
      step: scalar('step'),
    }
    const states: Record<string, Tensor> = {}
    for (const [name, shape] of Object.entries(state(spec))) {
      states[name] = input(`state.${name}`, 'float32', shape)
      known[`state.${name}`] = states[name]
    }
    const { weightDecay } = tensorUpdate(config, spec)
    // Times of the program are those of the optimizer.
    const program = scope('optimizer', () => {
      const result = own.update({
        ...parameter,
        parameter: known.parameter as Tensor,
        gradient: multiply(known.gradient as Tensor, known.scale as Tensor),
        state: states,
        rate: known.rate as Tensor,
        step: known.step as Tensor,
        ...{ weightDecay, beta1, beta2, epsilon },
      })
      const returned = Object.keys(states).map((name) => [`new state.${name}`, result.state?.[name] as Tensor])
      return { outputs: { 'new parameter': result.parameter, ...Object.fromEntries(returned) } }
    })
    const foreign = reach(program).inputs.find(({ source }) => known[source.name]?.source !== source)
    if (foreign)
      throw optimizerFault(
        own,
        `update of ${spec.name} reads "${foreign.source.name}", an input that it was not given (expected its input alone)`,
      )
    return program
  }
  return { state, trace }
}

/** Shape of a parameter, or of one expert of a stacked parameter. */
const shapeOf = ({ shape, stacked }: ParameterSpec): readonly number[] => (stacked ? shape.slice(1) : shape)

function roleOf(spec: ParameterSpec): ParameterRole {
  if (isRouter(spec)) return 'router'
  if (shapeOf(spec).length === 1) return 'vector'
  // A layer of the user's own may begin with a matrix of zeros.
  if (typeof spec.init === 'string' || spec.init.role === 'branch') return 'matrix'
  return spec.init.role
}

/** Whether a rule updates a parameter. The biases of routers follow the loads of the experts, and nothing else. */
export const isUpdated = ({ name, frozen = false }: ParameterSpec): boolean => !frozen && !isRouterBias(name)

/** Number of floats of the state of an expert, or of a parameter that is not stacked; each tensor begins a cache line. */
export const unitStateFloats = (rule: Rule, spec: ParameterSpec): number =>
  Object.values(rule.state(spec)).reduce((floats, shape) => floats + paddedFloats(sizeOf(shape)), 0)

/** Number of floats of the state of a share of whole tensors. */
export const ownStateFloats = (rule: Rule, { spec, from, to }: Pick<Share, 'spec' | 'from' | 'to'>): number =>
  isUpdated(spec) ? (to - from) * unitStateFloats(rule, spec) : 0

/** Number of floats of the state of all trained parameters of a model, without padding. */
export function stateNumbers({ model, train }: Pick<RunConfig, 'model' | 'train'>): number {
  const rule = ruleOf(train)
  const specs = withFrozen(parameterSpecs(model), train.freeze).filter(isUpdated)
  return specs.reduce((sum, spec) => {
    const shapes = Object.values(rule.state(spec))
    const count = spec.stacked ? (spec.shape[0] as number) : 1
    return sum + count * shapes.reduce((floats, shape) => floats + sizeOf(shape), 0)
  }, 0)
}

/**
 * Traces the update of every parameter, so that a mistake in an optimizer of the user's own is found before a training
 * writes anything.
 * @throws UsageError naming the parameter at fault, or the setting
 */
export function checkOptimizer({ model, train }: Pick<RunConfig, 'model' | 'train'>): void {
  if (train.optimizer.kind !== 'own') return
  const rule = ruleOf(train)
  for (const spec of withFrozen(parameterSpecs(model), train.freeze)) if (isUpdated(spec)) rule.trace(spec)
}
