/** Settings of attention: heads, biases, sliding windows and rotary positions. */
import { type Fields, isFields } from '../../../core/config/fields.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { headWidthOf, windowOf } from '../../../core/model/config.ts'
import type { Setting } from './contract.ts'
import { counts, flags, given, naturals, numbers, orDefault, refuse, same, valueAt } from './settings.ts'

/**
 * Settings of the number and width of heads.
 * @param headWidth Width of a head if the key `head_dim` is absent; default: D/H.
 * @param keyValueHeads Number of heads of keys and values if the key `num_key_value_heads` is absent; default: as many
 *   as heads of queries, which is also what null in the file means.
 */
export const headSettings = ({
  headWidth = null,
  keyValueHeads = null,
}: {
  readonly headWidth?: number | null
  readonly keyValueHeads?: number | null
} = {}): Setting[] => [
  same('num_attention_heads', 'heads'),
  {
    keys: ['num_key_value_heads'],
    read: (config) => ({ keyValueHeads: orDefault(config, 'num_key_value_heads', counts, keyValueHeads) }),
    write: ({ heads, keyValueHeads }) => ({ num_key_value_heads: keyValueHeads ?? heads }),
  },
  {
    keys: ['head_dim'],
    read: (config) => ({ headWidth: valueAt(config, 'head_dim', counts, headWidth) }),
    write: (model) => ({ head_dim: headWidthOf(model) }),
  },
]

/** A key that turns biases on. @param biases Biases that it turns on. @param fallback Value if the key is absent. */
export const biases = (key: string, biases: 'qkv' | 'all', fallback = false): Setting => ({
  keys: [key],
  read: (config) => ({ attentionBias: valueAt(config, key, flags, fallback) ? biases : 'none' }),
  write: ({ attentionBias }) => ({ [key]: attentionBias !== 'none' }),
})

/** One window for all layers, or no window. @param fallback Value if the key is absent. */
export const windowOfAll = (fallback: number | null): Setting => ({
  keys: ['sliding_window'],
  read: (config) => ({ window: orDefault(config, 'sliding_window', counts, fallback) }),
  write: ({ window }) => ({ sliding_window: window }),
})

/** Value of `sliding_window` if the key is absent, in all classes with windows by layer. */
const DEFAULT_WINDOW = 4096

/** Layers from `max_window_layers` on have a window. @param fallback Value if the key is absent. */
export const fromMaxWindowLayers =
  (fallback: number) =>
  (config: Fields): number =>
    valueAt(config, 'max_window_layers', naturals, fallback)

/**
 * Windows by layer, which `layer_types` names.
 * @param isSwitched Whether there are windows only with `use_sliding_window`.
 * @param impliedFrom Returns the first layer with a window if `layer_types` is absent; null if it cannot be computed.
 */
export const windowsByLayer = (isSwitched: boolean, impliedFrom: (config: Fields) => number | null): Setting => ({
  keys: ['use_sliding_window', 'sliding_window', 'layer_types', 'max_window_layers'],
  read(config) {
    const none = { window: null, fullEvery: 0 }
    // Without windows the other keys are not read: some files have 0 there.
    if (isSwitched && !valueAt(config, 'use_sliding_window', flags, false)) return none
    const window = orDefault(config, 'sliding_window', counts, DEFAULT_WINDOW)
    const layers = valueAt<number>(config, 'num_hidden_layers', counts)
    if (window === null) return none
    const isFull = isFullLayer(config, layers, impliedFrom)
    if (isFull.every(Boolean)) return none
    const fullEvery = fullEveryOf(isFull)
    if (fullEvery === null)
      refuse(
        config.layer_types ? 'layer_types' : 'max_window_layers',
        config.layer_types ?? impliedFrom(config),
        'every n-th layer without a window',
      )
    return { window, fullEvery }
  },
  write(model) {
    const types = Array.from({ length: model.layers }, (_, layer) =>
      windowOf(model, layer) === null ? 'full_attention' : 'sliding_attention',
    )
    return {
      use_sliding_window: model.window !== null,
      sliding_window: model.window,
      max_window_layers: model.window === null ? model.layers : 0,
      layer_types: types,
    }
  },
})

function isFullLayer(config: Fields, layers: number, impliedFrom: (config: Fields) => number | null): boolean[] {
  const types = given(config, 'layer_types')
  if (types === undefined) {
    const from = impliedFrom(config)
    if (from === null) refuse('use_sliding_window', true, 'false, or layer_types that names the layers with a window')
    return Array.from({ length: layers }, (_, layer) => layer < from)
  }
  if (!Array.isArray(types) || types.length !== layers) refuse('layer_types', types, `one for each of ${layers} layers`)
  return types.map((type) => {
    if (type !== 'full_attention' && type !== 'sliding_attention')
      refuse('layer_types', type, '"full_attention" or "sliding_attention"')
    return type === 'full_attention'
  })
}

function fullEveryOf(isFull: readonly boolean[]): number | null {
  if (!isFull.includes(true)) return 0
  for (let every = 2; every <= isFull.length; every++)
    if (isFull.every((full, layer) => full === ((layer + 1) % every === 0))) return every
  return null
}

/**
 * Rotary positions: `rope_theta` and `rope_scaling`, or `rope_parameters` of transformers 5, which has both. Halves of
 * a head are rotated for these files as in Choir (`rotate_half`).
 * @param base Base of the angles if no key gives it.
 */
export const rotary = (base = 10_000): Setting => ({
  keys: ['rope_theta', 'rope_scaling', 'rope_parameters', 'partial_rotary_factor'],
  read(config) {
    const key = isFields(config.rope_parameters) ? 'rope_parameters' : 'rope_scaling'
    const parameters = config[key] ?? {}
    if (!isFields(parameters)) return refuse(key, parameters, 'an object with rope_type and factor')
    const [layerType] = Object.keys(parameters).filter((each) => isFields(parameters[each]))
    if (layerType !== undefined) refuse(`${key}.${layerType}`, parameters[layerType], 'one rotation for all layers')
    const partial = given(parameters, 'partial_rotary_factor') ?? given(config, 'partial_rotary_factor') ?? 1
    if (partial !== 1) refuse('partial_rotary_factor', partial, '1: all of a head is rotated')
    const theta = valueAt<number>(config, 'rope_theta', numbers, base)
    return {
      positions: 'rotary',
      rotaryBase: valueAt(parameters, 'rope_theta', numbers, theta),
      rotaryScaling: readScaling(config, key, parameters),
    }
  },
  write({ rotaryBase, rotaryScaling }) {
    const scaling = writeScaling(rotaryScaling)
    return {
      rope_theta: rotaryBase,
      rope_scaling: scaling,
      rope_parameters: { rope_type: 'default', ...scaling, rope_theta: rotaryBase },
    }
  },
})

/** Reads a scaling of rotary positions as Hugging Face's `modeling_rope_utils.py` does. */
function readScaling(config: Fields, key: string, parameters: Fields): Fields | null {
  const type = given(parameters, 'rope_type') ?? given(parameters, 'type') ?? 'default'
  const number = (name: string, fallback?: number | null) => valueAt(parameters, name, numbers, fallback)
  const original = () => number('original_max_position_embeddings', valueAt(config, 'max_position_embeddings', counts))
  switch (type) {
    case 'default':
      return null
    case 'linear':
      return { kind: 'linear', factor: number('factor') }
    case 'llama3':
      return {
        kind: 'llama3',
        factor: number('factor'),
        original: original(),
        lowFactor: number('low_freq_factor'),
        highFactor: number('high_freq_factor'),
      }
    case 'yarn': {
      const factor = number('factor') as number
      return {
        kind: 'yarn',
        factor,
        original: original(),
        betaFast: number('beta_fast', 32),
        betaSlow: number('beta_slow', 1),
        attentionFactor: number('attention_factor', attentionFactorOf(parameters, factor)),
        truncate: valueAt(parameters, 'truncate', flags, true),
      }
    }
    default:
      return refuse(`${key}.rope_type`, type, 'default, linear, yarn and llama3')
  }
}

/** The ratio of the factors of DeepSeek's `mscale` and `mscale_all_dim`; null unless both are given. */
function attentionFactorOf(parameters: Fields, factor: number): number | null {
  const [all, part] = [given(parameters, 'mscale_all_dim'), given(parameters, 'mscale')]
  if (!all || !part) return null
  const ofScale = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1)
  return ofScale(Number(part)) / ofScale(Number(all))
}

function writeScaling(scaling: ModelConfig['rotaryScaling']): Fields | null {
  if (!scaling) return null
  const common = { rope_type: scaling.kind, factor: scaling.factor }
  switch (scaling.kind) {
    case 'linear':
      return common
    case 'llama3':
      return {
        ...common,
        original_max_position_embeddings: scaling.original,
        low_freq_factor: scaling.lowFactor,
        high_freq_factor: scaling.highFactor,
      }
    case 'yarn':
      return {
        ...common,
        original_max_position_embeddings: scaling.original,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        attention_factor: scaling.attentionFactor,
        truncate: scaling.truncate,
      }
  }
}
