/** Sparse decoders with softmax routers: Mixtral, OLMoE, Qwen2-MoE, Qwen3-MoE, GraniteMoE and GraniteMoEShared. */

import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { biases, headSettings, rotary, windowOfAll, windowsByLayer } from './attention.ts'
import type { Architecture, TheirTensor } from './contract.ts'
import { graniteScales } from './dense.ts'
import { always, decoderSettings, naturals, only, same } from './settings.ts'
import { alwaysRenormalized, noDenseLayers, renormalized, sparseByStep, topKSettings } from './sparse-settings.ts'
import { decoderTensors, layerName, linear, projNames, separateExperts, swiglu } from './tensors.ts'

const mixtral: Architecture = {
  type: 'mixtral',
  className: 'MixtralForCausalLM',
  settings: [
    ...decoderSettings({ epsilon: 1e-5 }),
    ...headSettings({ keyValueHeads: 8 }),
    rotary(1e6),
    windowOfAll(null),
    ...topKSettings('num_local_experts'),
    same('intermediate_size', 'moe.hidden'),
    alwaysRenormalized,
    noDenseLayers,
  ],
  tensors: (model) =>
    decoderTensors(model, (moe, layer) =>
      separateExperts(model, moe, layer, {
        prefix: `${layerName(layer)}.block_sparse_moe`,
        router: 'gate',
        names: { gate: 'w1', up: 'w3', down: 'w2' },
      }),
    ),
}

/** Tensors of experts as OLMoE names them. Qwen and DeepSeek use the same names. */
export const mlpExperts = (model: ModelConfig, moe: MoeConfig, layer: number): TheirTensor[] =>
  separateExperts(model, moe, layer, { prefix: `${layerName(layer)}.mlp`, router: 'gate', names: projNames })

const olmoe: Architecture = {
  type: 'olmoe',
  className: 'OlmoeForCausalLM',
  settings: [
    ...decoderSettings({ epsilon: 1e-5 }),
    ...headSettings(),
    rotary(),
    biases('attention_bias', 'all'),
    only('clip_qkv', [null], 'null: queries, keys and values are not clipped'),
    ...topKSettings('num_experts'),
    same('intermediate_size', 'moe.hidden'),
    renormalized,
    noDenseLayers,
    always({ queryKeyNorm: 'width' }),
  ],
  tensors: (model) => decoderTensors(model, (moe, layer) => mlpExperts(model, moe, layer)),
}

const qwen2Moe: Architecture = {
  type: 'qwen2_moe',
  className: 'Qwen2MoeForCausalLM',
  settings: [
    ...decoderSettings(),
    ...headSettings({ keyValueHeads: 16 }),
    rotary(),
    biases('qkv_bias', 'qkv', true),
    // If layer_types is absent, versions of transformers differ in which layers have a window.
    windowsByLayer(true, () => null),
    same('intermediate_size', 'hidden'),
    ...topKSettings('num_experts'),
    same('moe_intermediate_size', 'moe.hidden'),
    same('shared_expert_intermediate_size', 'moe.sharedHidden', naturals),
    renormalized,
    sparseByStep,
    always({ moe: { sharedGate: true } }),
  ],
  tensors: (model) =>
    decoderTensors(model, (moe, layer) => {
      const [theirs, ours] = [`${layerName(layer)}.mlp`, `layers.${layer}.moe.shared`]
      const shared = { width: model.width, hidden: moe.sharedHidden }
      return [
        ...mlpExperts(model, moe, layer),
        ...swiglu(`${theirs}.shared_expert`, projNames, shared, ours),
        linear(`${theirs}.shared_expert_gate`, [1, model.width], `${ours}.mix`),
      ]
    }),
}

const qwen3Moe: Architecture = {
  type: 'qwen3_moe',
  className: 'Qwen3MoeForCausalLM',
  settings: [
    ...decoderSettings(),
    ...headSettings({ keyValueHeads: 4 }),
    rotary(),
    biases('attention_bias', 'all'),
    windowsByLayer(true, () => 0),
    same('intermediate_size', 'hidden'),
    ...topKSettings('num_experts'),
    same('moe_intermediate_size', 'moe.hidden'),
    renormalized,
    sparseByStep,
    always({ queryKeyNorm: 'head' }),
  ],
  tensors: (model) => decoderTensors(model, (moe, layer) => mlpExperts(model, moe, layer)),
}

/** GraniteMoE stores the experts of a layer in two tensors, with the gate beside `up`. */
const graniteMoe = (type: string, className: string, hasShared: boolean): Architecture => ({
  type,
  className,
  settings: [
    ...decoderSettings(),
    ...headSettings(),
    rotary(),
    biases('attention_bias', 'all'),
    ...graniteScales,
    ...topKSettings('num_local_experts'),
    same('intermediate_size', 'moe.hidden'),
    ...(hasShared ? [same('shared_intermediate_size', 'moe.sharedHidden', naturals, 0)] : []),
    alwaysRenormalized,
    noDenseLayers,
  ],
  tensors: (model) =>
    decoderTensors(model, (moe, layer) => [
      ...stackedExperts(model, moe, layer),
      ...(moe.sharedHidden > 0 ? sharedNetwork(model, moe, layer) : []),
    ]),
})

function stackedExperts({ width }: ModelConfig, { experts, hidden }: MoeConfig, layer: number): TheirTensor[] {
  const [theirs, ours] = [`${layerName(layer)}.block_sparse_moe`, `layers.${layer}.moe`]
  const part = (rows: number, e: number, matrix: string) => ({
    rows,
    ours: `${ours}.experts.${e}.${matrix}`,
    at: 0,
    transposed: true,
  })
  const all = Array.from({ length: experts }, (_, e) => e)
  return [
    {
      name: `${theirs}.input_linear.weight`,
      shape: [experts, 2 * hidden, width],
      parts: all.flatMap((e) => [part(hidden, e, 'gate'), part(hidden, e, 'up')]),
    },
    {
      name: `${theirs}.output_linear.weight`,
      shape: [experts, width, hidden],
      parts: all.map((e) => part(width, e, 'down')),
    },
    linear(`${theirs}.router.layer`, [experts, width], `${ours}.router`),
  ]
}

function sharedNetwork({ width }: ModelConfig, { sharedHidden }: MoeConfig, layer: number): TheirTensor[] {
  const [theirs, ours] = [`${layerName(layer)}.shared_mlp`, `layers.${layer}.moe.shared`]
  const part = (matrix: string) => ({ rows: sharedHidden, ours: `${ours}.${matrix}`, at: 0, transposed: true })
  return [
    {
      name: `${theirs}.input_linear.weight`,
      shape: [2 * sharedHidden, width],
      parts: [part('gate'), part('up')],
    },
    linear(`${theirs}.output_linear`, [width, sharedHidden], `${ours}.down`),
  ]
}

export const sparseArchitectures: readonly Architecture[] = [
  mixtral,
  olmoe,
  qwen2Moe,
  qwen3Moe,
  graniteMoe('granitemoe', 'GraniteMoeForCausalLM', false),
  graniteMoe('granitemoeshared', 'GraniteMoeSharedForCausalLM', true),
]
