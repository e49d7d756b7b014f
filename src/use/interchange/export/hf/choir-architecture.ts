/**
 * Choir's own architecture for transformers: every model that generates text, computed by the Python file that goes
 * with it. `modeling_choir.py` reads these keys and tensors.
 */

import type { MoeConfig } from '../../../../core/model/config/moe-config.ts'
import { moduleName, type RoutedModule } from '../../../../core/model/config/moe-config.ts'
import {
  attentionColumns,
  attentionScaleOf,
  embeddingScaleOf,
  headScaleOf,
  headWidthOf,
  type ModelConfig,
  windowOf,
} from '../../../../core/model/config.ts'
import { ffnParameters } from '../../../../core/model/ffn.ts'
import { isSparse, routedModules } from '../../../../core/model/parameters.ts'
import { rotationOf } from '../../../../core/model/rotary.ts'
import { hasRouterWeights } from '../../../../core/model/routing/routers.ts'
import type { TheirTensor } from '../../../foreign/architectures/contract.ts'
import { alike, linear } from '../../../foreign/architectures/tensors.ts'

/** The keys of config.json. Settings that follow from others are numbers, so the Python file has no rules for them. */
export function choirConfig(model: ModelConfig) {
  const layers = Array.from({ length: model.layers }, (_, layer) => layer)
  const rotation = model.positions === 'rotary' ? rotationOf(model) : null
  return {
    architectures: ['ChoirForCausalLM'],
    model_type: 'choir',
    auto_map: {
      AutoConfig: 'configuration_choir.ChoirConfig',
      AutoModelForCausalLM: 'modeling_choir.ChoirForCausalLM',
    },
    vocab_size: model.vocabulary,
    hidden_size: model.width,
    intermediate_size: model.hidden,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.keyValueHeads ?? model.heads,
    head_dim: headWidthOf(model),
    max_position_embeddings: model.sequence,
    tie_word_embeddings: model.tied,
    positions: model.positions,
    rotary_frequencies: rotation?.frequencies ?? null,
    rotary_scale: rotation?.scale ?? null,
    query_key_norm: model.queryKeyNorm,
    attention_bias: model.attentionBias,
    attention_scale: attentionScaleOf(model),
    attention_windows: layers.map((layer) => windowOf(model, layer)),
    norm: model.norm,
    norm_epsilon: model.normEpsilon,
    activation: model.activation,
    embedding_scale: embeddingScaleOf(model),
    head_scale: headScaleOf(model),
    residual_scale: model.residualScale,
    sparse_layers: layers.filter((layer) => isSparse(model, layer)),
    moe: model.moe && moeConfig(model.moe),
  }
}

const modulesInAttention: Record<MoeConfig['attention'], readonly RoutedModule[]> = {
  none: [],
  qkv: ['qkv'],
  all: ['qkv', 'output'],
}

const moeConfig = (moe: MoeConfig) => ({
  experts: moe.experts,
  hidden: moe.hidden,
  shared_hidden: moe.sharedHidden,
  shared_gate: moe.sharedGate,
  attention: modulesInAttention[moe.attention],
  router: moe.router,
  k: moe.k,
  prototypes: moe.prototypes,
  scores: moe.scores,
  expert_groups: moe.expertGroups,
  groups_per_token: moe.groupsPerToken,
  group_score: moe.groupScore,
  softmax: moe.softmax,
  renormalize: moe.renormalize,
  routed_scale: moe.routedScale,
})

/** The tensors of a model. Tables of the hash router, int32 [V, k], are further tensors: see {@link hashTables}. */
export function choirTensors(model: ModelConfig): TheirTensor[] {
  const { vocabulary, width, layers, hidden, sequence, tied, moe, norm, queryKeyNorm } = model
  const { queries, keys } = attentionColumns(model)
  const normTensors = (theirs: string, ours: string): TheirTensor[] => [
    alike(`${theirs}.weight`, [width], ours),
    ...(norm === 'layer' ? [alike(`${theirs}.bias`, [width], `${ours}.bias`)] : []),
  ]
  const ffnTensors = (theirs: string, ours: string, inner: number): TheirTensor[] =>
    ffnParameters(model).map(({ name, rows }) =>
      linear(`${theirs}.${name}`, rows === 'width' ? [inner, width] : [width, inner], `${ours}.${name}`),
    )
  const routerTensors = (sparse: MoeConfig, theirs: string, ours: string, inputs: number): TheirTensor[] => [
    ...(hasRouterWeights(sparse) ? [linear(`${theirs}.router`, [sparse.experts, inputs], `${ours}.router`)] : []),
    ...(sparse.router === 'bias' ? [alike(`${theirs}.router.bias`, [sparse.experts], `${ours}.router.bias`)] : []),
  ]
  const expertsOf = (sparse: MoeConfig) => Array.from({ length: sparse.experts }, (_, e) => e)

  const projection = (layer: number, module: 'qkv' | 'output', inputs: number, outputs: number): TheirTensor[] => {
    const [theirs, ours] = [`model.layers.${layer}.attention.${module}`, moduleName(layer, module)]
    if (moe && routedModules(model, layer).includes(module))
      return [
        ...routerTensors(moe, theirs, ours, inputs),
        ...expertsOf(moe).map((e) =>
          linear(`${theirs}.experts.${e}`, [outputs, inputs], `${ours}.experts.${e}.weight`),
        ),
      ]
    const hasBias = model.attentionBias === 'all' || model.attentionBias === module
    return [
      linear(theirs, [outputs, inputs], ours),
      ...(hasBias ? [alike(`${theirs}.bias`, [outputs], `${ours}.bias`)] : []),
    ]
  }
  const layerTensors = (layer: number): TheirTensor[] => {
    const [theirs, ours] = [`model.layers.${layer}`, `layers.${layer}`]
    const normed = (size: number): [number] => [queryKeyNorm === 'head' ? headWidthOf(model) : size]
    const norms =
      queryKeyNorm === 'none'
        ? []
        : [
            alike(`${theirs}.attention.query_norm.weight`, normed(queries), `${ours}.attention.queryNorm`),
            alike(`${theirs}.attention.key_norm.weight`, normed(keys), `${ours}.attention.keyNorm`),
          ]
    const attention = [
      ...normTensors(`${theirs}.attention_norm`, `${ours}.attention.norm`),
      ...projection(layer, 'qkv', width, queries + 2 * keys),
      ...norms,
      ...projection(layer, 'output', queries, width),
    ]
    if (!moe || !isSparse(model, layer))
      return [
        ...attention,
        ...normTensors(`${theirs}.ffn_norm`, `${ours}.ffn.norm`),
        ...ffnTensors(`${theirs}.ffn`, `${ours}.ffn`, hidden),
      ]
    return [
      ...attention,
      ...normTensors(`${theirs}.ffn_norm`, `${ours}.moe.norm`),
      ...routerTensors(moe, `${theirs}.ffn`, `${ours}.moe`, width),
      ...(moe.sharedHidden > 0 ? ffnTensors(`${theirs}.ffn.shared`, `${ours}.moe.shared`, moe.sharedHidden) : []),
      ...(moe.sharedGate ? [linear(`${theirs}.ffn.mix`, [1, width], `${ours}.moe.shared.mix`)] : []),
      ...expertsOf(moe).flatMap((e) =>
        ffnTensors(`${theirs}.ffn.experts.${e}`, `${ours}.moe.experts.${e}`, moe.hidden),
      ),
    ]
  }
  return [
    alike('model.embedding.weight', [vocabulary, width], 'embedding'),
    ...(model.positions === 'learned' ? [alike('model.positions.weight', [sequence, width], 'positions')] : []),
    ...Array.from({ length: layers }, (_, layer) => layerTensors(layer)).flat(),
    ...normTensors('model.norm', 'norm'),
    ...(tied ? [] : [alike('head.weight', [vocabulary, width], 'head')]),
  ]
}
