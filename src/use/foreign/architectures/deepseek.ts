/**
 * DeepSeek-style experts with attention that Choir has: DeepSeekMoE 16B (`deepseek`) and dots.llm1 (`dots1`). Later
 * models of DeepSeek compress keys and values (MLA).
 */

import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { biases, fromMaxWindowLayers, headSettings, rotary, windowsByLayer } from './attention.ts'
import type { Architecture, TheirTensor } from './contract.ts'
import { always, counts, decoderSettings, flags, numbers, only, same, valueAt } from './settings.ts'
import { mlpExperts } from './sparse.ts'
import { renormalized, sharedExperts, sparseAfterFirst } from './sparse-settings.ts'
import { alike, decoderTensors, layerName, projNames, swiglu } from './tensors.ts'

const experts = [
  same('n_routed_experts', 'moe.experts'),
  same('num_experts_per_tok', 'moe.k'),
  same('moe_intermediate_size', 'moe.hidden'),
  same('intermediate_size', 'hidden'),
  sharedExperts,
]

const deepseek: Architecture = {
  type: 'deepseek',
  className: 'DeepseekForCausalLM',
  settings: [
    ...decoderSettings(),
    ...headSettings(),
    rotary(),
    biases('attention_bias', 'all'),
    ...experts,
    sparseAfterFirst('moe_layer_freq'),
    only('scoring_func', ['softmax']),
    always({ moe: { router: 'top-k', scores: 'softmax' } }),
    {
      keys: ['norm_topk_prob'],
      // DeepSeek's code does not divide the gate of a token with a single expert.
      read: (config) => ({
        moe: {
          renormalize:
            valueAt(config, 'norm_topk_prob', flags, false) &&
            valueAt<number>(config, 'num_experts_per_tok', counts) > 1,
        },
      }),
      write: ({ moe }) => ({ norm_topk_prob: moe?.renormalize ?? false }),
    },
  ],
  tensors: (model) =>
    decoderTensors(model, (moe, layer) => [...mlpExperts(model, moe, layer), ...shared(model, moe, layer)]),
}

const dots1: Architecture = {
  type: 'dots1',
  className: 'Dots1ForCausalLM',
  settings: [
    ...decoderSettings(),
    ...headSettings({ keyValueHeads: 32 }),
    rotary(),
    biases('attention_bias', 'all'),
    windowsByLayer(false, fromMaxWindowLayers(62)),
    ...experts,
    sparseAfterFirst(),
    renormalized,
    same('routed_scaling_factor', 'moe.routedScale', numbers, 1),
    same('n_group', 'moe.expertGroups', counts, 1),
    same('topk_group', 'moe.groupsPerToken', counts, 1),
    only('scoring_func', ['sigmoid', 'noaux_tc']),
    only('topk_method', ['noaux_tc']),
    always({ queryKeyNorm: 'head', moe: { router: 'bias', scores: 'sigmoid', groupScore: 'top-2' } }),
  ],
  tensors: (model) =>
    decoderTensors(model, (moe, layer) => [
      ...mlpExperts(model, moe, layer),
      alike(`${layerName(layer)}.mlp.gate.e_score_correction_bias`, [moe.experts], `layers.${layer}.moe.router.bias`),
      ...shared(model, moe, layer),
    ]),
}

/** The shared experts of a layer, as one network. */
function shared(model: ModelConfig, { sharedHidden }: MoeConfig, layer: number): TheirTensor[] {
  if (sharedHidden === 0) return []
  const size = { width: model.width, hidden: sharedHidden }
  return swiglu(`${layerName(layer)}.mlp.shared_experts`, projNames, size, `layers.${layer}.moe.shared`)
}

export const deepseekArchitectures: readonly Architecture[] = [deepseek, dots1]
