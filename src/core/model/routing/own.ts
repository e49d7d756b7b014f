/** Routers of a user's own: plugins with the interface of the built-in routers. */
import { UsageError } from '../../errors.ts'
import type { Tensor } from '../../graph/tensor.ts'
import { type PluginSettings, Plugins } from '../../plugins.ts'
import type { MoeConfig } from '../config/moe-config.ts'
import { pluginSettings } from '../config/plugin-settings.ts'
import { checkParameters } from '../own/parameters.ts'
import { attemptIn } from '../own/watched-names.ts'
import type { Choice, Router, RouterInput, RouterShape } from './contract.ts'

/** A router with its name. */
export interface OwnRouter extends Router {
  readonly name: string
  /** Its settings with their defaults, which `model.moe.settings` replaces: the arms of a study may differ in them. */
  readonly settings?: PluginSettings
}

/** Routers that `model.moe.own` names. */
export const ownRouters = new Plugins<OwnRouter>(
  'router',
  {
    settings: 'optional settings',
    parameters: 'optional function',
    choose: 'function',
    sees: ['token', 'past', 'batch', 'batch in training'],
  },
  checked,
)

/** The router with checks of what its functions return, so that a mistake is reported where it is made. */
function checked(router: OwnRouter): OwnRouter {
  const fault = (message: string) => new UsageError(`router ${router.name}: ${message}`)
  const attempt = attemptIn(fault)
  const settings = (given: PluginSettings) => pluginSettings('model.moe.settings', router.settings ?? {}, given)
  const parameters = (shape: RouterShape) => {
    const whole = { ...shape, settings: settings(shape.settings) }
    const all = attempt('parameters', () => router.parameters?.(whole)) ?? {}
    checkParameters(all, ['zeros', 'ones', 'normal'], 'bias', fault)
    return all
  }
  const choose = (input: RouterInput): Choice => {
    const own = settings(input.settings)
    const choice = attempt('choose', (names) =>
      router.choose({
        ...input,
        weights: names.watch('weights', input.weights ?? {}),
        settings: names.watch('settings', own),
      }),
    )
    const { moe, x_TD } = input
    const [tokens = 0] = x_TD.shape
    const choices = [tokens, moe.k * moe.prototypes]
    const scores = [tokens, moe.prototypes, moe.experts / moe.prototypes]
    const expect = (name: keyof Choice, dtype: string, shape: readonly number[]) => {
      const tensor = choice?.[name] as { dtype?: unknown; shape?: unknown } | undefined
      if (tensor?.dtype === dtype && JSON.stringify(tensor.shape) === JSON.stringify(shape)) return
      const found = tensor?.shape ? `${tensor.dtype} ${JSON.stringify(tensor.shape)}` : typeof tensor
      throw fault(`choose returned ${name} as ${found} (expected a tensor ${dtype} ${JSON.stringify(shape)})`)
    }
    expect('expert_TK', 'int32', choices)
    expect('gate_TK', x_TD.dtype, choices)
    if (choice.losses) {
      for (const name of ['balance', 'z', 'entropy'] as const) {
        const tensor: Partial<Tensor> | undefined = choice.losses[name]
        if (tensor?.dtype !== x_TD.dtype || tensor.shape?.length !== 0)
          throw fault(`choose returned losses.${name} as no scalar (expected a tensor ${x_TD.dtype} [])`)
      }
      return choice
    }
    // Balancing losses and the entropy of a learned router are computed from its distribution.
    const isLearned =
      Object.keys(parameters({ moe, width: x_TD.shape[1] as number, settings: input.settings })).length > 0
    if (isLearned || choice.logits_TZN || choice.probability_TZN) {
      expect('logits_TZN', x_TD.dtype, scores)
      expect('probability_TZN', x_TD.dtype, scores)
    }
    return choice
  }
  return { ...router, parameters, choose }
}

/** Why a loaded router refuses its settings, with the field; null if it accepts them, or is not loaded. */
export function routerProblem({
  moe,
  width,
}: {
  readonly moe: MoeConfig | null
  readonly width: number
}): { readonly field: 'settings' | 'router'; readonly message: string } | null {
  // The dashboard reads runs whose router it does not load.
  if (!moe?.own || !ownRouters.has(moe.own)) return null
  const { settings } = moe
  try {
    ownRouters.get(moe.own).parameters?.({ moe, width, settings })
    return null
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return { field: Object.keys(settings).length > 0 ? 'settings' : 'router', message: error.message }
  }
}
