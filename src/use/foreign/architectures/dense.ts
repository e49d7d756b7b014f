/** Dense decoders: Llama, Mistral, Qwen2, Qwen3 and Granite. They differ in attention and in constant factors. */
import { attentionScaleOf, embeddingScaleOf, headScaleOf } from '../../../core/model/config.ts'
import { biases, fromMaxWindowLayers, headSettings, rotary, windowOfAll, windowsByLayer } from './attention.ts'
import type { Architecture, Setting } from './contract.ts'
import { always, decoderSettings, numbers, only, same, valueAt } from './settings.ts'
import { decoderTensors } from './tensors.ts'

const dense = (type: string, className: string, settings: readonly Setting[]): Architecture => ({
  type,
  className,
  settings: [...settings, same('intermediate_size', 'hidden'), always({ moe: null })],
  tensors: (model) => decoderTensors(model, () => []),
})

/** Constant factors of Granite; `logits_scaling` divides the logits. */
export const graniteScales: readonly Setting[] = [
  {
    keys: ['embedding_multiplier'],
    read: (config) => ({ embeddingScale: valueAt(config, 'embedding_multiplier', numbers, 1) }),
    write: (model) => ({ embedding_multiplier: embeddingScaleOf(model) }),
  },
  same('residual_multiplier', 'residualScale', numbers, 1),
  {
    keys: ['attention_multiplier'],
    // The factor replaces 1/√d, and is 1 by default.
    read: (config) => ({ attentionScale: valueAt(config, 'attention_multiplier', numbers, 1) }),
    write: (model) => ({ attention_multiplier: attentionScaleOf(model) }),
  },
  {
    keys: ['logits_scaling'],
    read: (config) => ({ headScale: 1 / valueAt<number>(config, 'logits_scaling', numbers, 1) }),
    write: (model) => ({ logits_scaling: 1 / headScaleOf(model) }),
  },
]

export const denseArchitectures: readonly Architecture[] = [
  dense('llama', 'LlamaForCausalLM', [
    ...decoderSettings(),
    ...headSettings(),
    rotary(),
    biases('attention_bias', 'all'),
    only('mlp_bias', [false]),
  ]),
  dense('mistral', 'MistralForCausalLM', [
    ...decoderSettings(),
    ...headSettings({ keyValueHeads: 8 }),
    rotary(),
    windowOfAll(4096),
  ]),
  dense('qwen2', 'Qwen2ForCausalLM', [
    ...decoderSettings(),
    ...headSettings({ keyValueHeads: 32 }),
    rotary(),
    windowsByLayer(true, fromMaxWindowLayers(28)),
    always({ attentionBias: 'qkv' }),
  ]),
  dense('qwen3', 'Qwen3ForCausalLM', [
    ...decoderSettings(),
    ...headSettings({ headWidth: 128, keyValueHeads: 32 }),
    rotary(),
    windowsByLayer(true, fromMaxWindowLayers(28)),
    biases('attention_bias', 'all'),
    always({ queryKeyNorm: 'head' }),
  ]),
  dense('granite', 'GraniteForCausalLM', [
    ...decoderSettings(),
    ...headSettings(),
    rotary(),
    biases('attention_bias', 'all'),
    only('mlp_bias', [false]),
    ...graniteScales,
  ]),
]
