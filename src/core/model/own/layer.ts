/**
 * Layers of a user's own in place of feed-forward networks: plugins that compute the output of a layer from the
 * activations of all tokens of a pass.
 */
import { UsageError } from '../../errors.ts'
import type { Shape } from '../../graph/model.ts'
import type { Tensor } from '../../graph/tensor.ts'
import { type PluginSettings, Plugins } from '../../plugins.ts'
import type { LayerConfig } from '../config/layer-config.ts'
import { pluginSettings } from '../config/plugin-settings.ts'
import { checkParameters } from './parameters.ts'
import { attemptIn } from './watched-names.ts'

/** The sizes from which the parameters of a layer follow. */
export interface LayerShape {
  /** Width D of the activations that the layer reads and returns: `model.width`. */
  readonly width: number
  /** `model.hidden`, the hidden width of a dense feed-forward network. The layer may use it or not. */
  readonly hidden: number
  /** Number of layers of the model. */
  readonly layers: number
  readonly settings: PluginSettings
}

export interface LayerParameter {
  /** The tensor is whole on every rank. Weight decay applies to it if it has two dimensions or more. */
  readonly shape: Shape
  /**
   * Initial values: zeros, ones, or a truncated normal with the deviation of matrices, √(`train.init.scale` / rows),
   * where the rows are the last dimension but one. `branch` is `normal` times `train.init.residual`, for a matrix whose
   * product is added to the residual stream, as that of `down` of a feed-forward network is.
   */
  readonly init: 'zeros' | 'ones' | 'normal' | 'branch'
}

export interface LayerInput {
  /** Normed activations [T, D], sequence after sequence; T is a multiple of `sequence`. */
  readonly x_TD: Tensor
  /** The parameters of the layer, by the names that `OwnLayer.parameters` gives them. */
  readonly weights: Readonly<Record<string, Tensor>>
  /** Ids of the tokens [T], int32. */
  readonly tokens_T: Tensor
  /**
   * Tokens of a sequence: token t of the pass has position t mod `sequence`. It is `model.sequence` in training and
   * evaluation, and may be any smaller number when text is written.
   */
  readonly sequence: number
  /** Whether the pass is a training pass. */
  readonly training: boolean
  readonly settings: PluginSettings
}

/** The output of a layer with a loss of its own. */
export interface LayerOutput {
  /** The output [T, D], which is added to the residual stream. */
  readonly y_TD: Tensor
  /**
   * A scalar that is added to the objective of training, but not to the reported loss of the text: the layer itself
   * multiplies it by a coefficient. The sum over layers is reported as `layer_loss`.
   */
  readonly loss?: Tensor
}

/** A layer with its name. Constants in it take the dtype of `x_TD`, so that its gradients can be checked in float64. */
export interface OwnLayer {
  readonly name: string
  /** Its settings with their defaults, which `model.layer.settings` replaces: the arms of a study may differ in them. */
  readonly settings?: PluginSettings
  /** The parameters of one layer, by name, of letters and digits; default: none. `norm` is the name of the norm before it. */
  readonly parameters?: (shape: LayerShape) => Readonly<Record<string, LayerParameter>>
  /** The output of a layer [T, D] in the dtype of `x_TD`. */
  readonly apply: (input: LayerInput) => Tensor | LayerOutput
  /**
   * The tokens that the output of a token depends on: itself (`token`, the default), earlier tokens of its sequence too
   * (`past`), or any token of the pass (`batch`). A model with `batch` cannot write text.
   */
  readonly sees?: 'token' | 'past' | 'batch'
}

/** Layers that `model.layer.own` names. */
export const ownLayers = new Plugins<OwnLayer>(
  'layer',
  {
    settings: 'optional settings',
    parameters: 'optional function',
    apply: 'function',
    sees: ['token', 'past', 'batch'],
  },
  checked,
)

/** The layer with checks of what its functions return, so that a mistake is reported where it is made. */
function checked(layer: OwnLayer): OwnLayer {
  const fault = (message: string) => new UsageError(`layer ${layer.name}: ${message}`)
  const attempt = attemptIn(fault)
  const settings = (given: PluginSettings) => pluginSettings('model.layer.settings', layer.settings ?? {}, given)
  const parameters = (shape: LayerShape) => {
    const whole = { ...shape, settings: settings(shape.settings) }
    const all = attempt('parameters', () => layer.parameters?.(whole)) ?? {}
    checkParameters(all, ['zeros', 'ones', 'normal', 'branch'], 'norm', fault)
    return all
  }
  const apply = (input: LayerInput): LayerOutput => {
    const own = settings(input.settings)
    const found = attempt('apply', (names) =>
      layer.apply({
        ...input,
        weights: names.watch('weights', input.weights ?? {}),
        settings: names.watch('settings', own),
      }),
    )
    const output = isTensor(found) ? { y_TD: found } : found
    const { x_TD } = input
    const expect = (name: string, tensor: unknown, shape: readonly number[]) => {
      const { dtype, shape: given } = (tensor ?? {}) as Partial<Tensor>
      if (dtype === x_TD.dtype && JSON.stringify(given) === JSON.stringify(shape)) return
      const kind = given ? `${dtype} ${JSON.stringify(given)}` : String(tensor)
      throw fault(`apply returned ${name} as ${kind} (expected a tensor ${x_TD.dtype} ${JSON.stringify(shape)})`)
    }
    expect('y_TD', output?.y_TD, x_TD.shape)
    if (output.loss !== undefined) expect('loss', output.loss, [])
    return output
  }
  return { ...layer, parameters, apply }
}

const isTensor = (value: Tensor | LayerOutput): value is Tensor =>
  typeof value === 'object' && value !== null && 'source' in value

interface WithLayer extends Omit<LayerShape, 'settings'> {
  readonly layer: LayerConfig | null
}

/** The parameters of each layer of the user's own, by name. @throws UsageError if the layer is not loaded or is wrong */
export function layerParameters({ width, hidden, layers, layer }: WithLayer): Readonly<Record<string, LayerParameter>> {
  if (!layer) return {}
  return ownLayers.get(layer.own).parameters?.({ width, hidden, layers, settings: layer.settings }) ?? {}
}

/** The output of a layer of the user's own. @throws UsageError if the layer is not loaded, or returns something else */
export function applyLayer({ own, settings }: LayerConfig, input: Omit<LayerInput, 'settings'>): LayerOutput {
  return ownLayers.get(own).apply({ ...input, settings }) as LayerOutput
}

/** Why a loaded layer refuses its settings; null if it accepts them, or is not loaded. */
export function settingsProblem(model: WithLayer): string | null {
  // The dashboard reads runs whose layer it does not load.
  if (!model.layer?.own || !ownLayers.has(model.layer.own)) return null
  try {
    layerParameters(model)
    return null
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return error.message
  }
}
