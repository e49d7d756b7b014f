/**
 * Architectures of llama.cpp: which ones compute a model exactly, and their metadata. llama.cpp does not read every key
 * of a config.json, so a model can be an architecture of transformers without being llama.cpp's of the same name.
 */
import {
  attentionColumns,
  attentionScaleOf,
  embeddingScaleOf,
  headScaleOf,
  headWidthOf,
  type ModelConfig,
  windowOf,
} from '../../../../core/model/config.ts'
import { isSparse } from '../../../../core/model/parameters.ts'
import { ggufArchitectures } from '../../../foreign/gguf/architectures.ts'
import type { Objection } from '../choose.ts'
import type { GgufValue } from './file.ts'

/** The name in llama.cpp, by the `model_type` of transformers. */
export const ggufNames: Readonly<Record<string, string>> = {
  llama: 'llama',
  mixtral: 'llama',
  granite: 'granite',
  granitemoe: 'granitemoe',
  granitemoeshared: 'granitemoe',
  qwen2: 'qwen2',
  qwen2_moe: 'qwen2moe',
  qwen3: 'qwen3',
  qwen3_moe: 'qwen3moe',
  olmoe: 'olmoe',
}

/** Whether llama.cpp rotates neighbours instead of halves. @param type `model_type` of transformers. */
export const isInterleaved = (type: string): boolean => ggufArchitectures[ggufNames[type] ?? '']?.isInterleaved === true

/** Architectures whose head is never the embedding. */
export const needsHead = (type: string): boolean => type === 'olmoe' || type === 'qwen2_moe'

/** The setting of the model that llama.cpp computes differently, or for which it has no tensors. */
export const llamaObjection: Objection = ({ type }, model) => {
  const { width, heads, keyValueHeads, attentionBias, rotaryScaling, moe } = model
  const layers = Array.from({ length: model.layers }, (_, layer) => layer)
  const window = layers.map((layer) => windowOf(model, layer)).find((each) => each !== null && each < model.sequence)
  if (window !== undefined) return `model.window: ${window} (llama.cpp has none in ${type})`
  if (rotaryScaling && rotaryScaling.kind !== 'linear' && !(rotaryScaling.kind === 'llama3' && isInterleaved(type)))
    return `model.rotaryScaling.kind: "${rotaryScaling.kind}" (llama.cpp computes other angles in ${type})`
  const biases = { qwen2: 'qkv', llama: 'all', granite: 'all' }[type] ?? 'none'
  if (attentionBias !== 'none' && attentionBias !== biases && !(type === 'qwen2_moe' && attentionBias === 'qkv'))
    return `model.attentionBias: "${attentionBias}" (llama.cpp has no such biases in ${type})`
  if (moe && type !== 'mixtral' && layers.some((layer) => !isSparse(model, layer)))
    return `model.moe.every, model.moe.from (all layers of ${type} are sparse in llama.cpp)`
  if (needsHead(type) && attentionColumns(model).queries !== width)
    return `model.headWidth: ${headWidthOf(model)} (heads of ${type} together have the model's width in llama.cpp)`
  if (type === 'olmoe' && (keyValueHeads ?? heads) !== heads)
    return `model.keyValueHeads: ${keyValueHeads} (llama.cpp has as many heads of keys as of queries in olmoe)`
  if (!moe) return null
  const sums = moe.renormalize || moe.softmax === 'after'
  if ((type === 'olmoe' || type === 'qwen2_moe') && sums)
    return `model.moe.renormalize: true (llama.cpp does not divide the gates of ${type})`
  if (type === 'qwen3_moe' && !sums)
    return 'model.moe.renormalize: false (llama.cpp always divides the gates of qwen3_moe)'
  return null
}

const uint = (value: number): GgufValue => ({ type: 'uint32', value })
const float = (value: number): GgufValue => ({ type: 'float32', value })
const text = (value: string): GgufValue => ({ type: 'string', value })

/** Metadata of the architecture, without the tokenizer. @param type `model_type` of transformers. */
export function architectureMetadata(type: string, model: ModelConfig): Record<string, GgufValue> {
  const name = ggufNames[type] as string
  const { moe, heads, rotaryScaling } = model
  const head = headWidthOf(model)
  const ownHidden = type === 'qwen2_moe' || type === 'qwen3_moe'
  const values: Record<string, GgufValue> = {
    vocab_size: uint(model.vocabulary),
    block_count: uint(model.layers),
    context_length: uint(model.sequence),
    embedding_length: uint(model.width),
    // The experts of Llama, OLMoE and Granite have no key of their own.
    feed_forward_length: uint(moe && !ownHidden ? moe.hidden : model.hidden),
    'attention.head_count': uint(heads),
    'attention.head_count_kv': uint(model.keyValueHeads ?? heads),
    'attention.key_length': uint(head),
    'attention.value_length': uint(head),
    'attention.layer_norm_rms_epsilon': float(model.normEpsilon),
    'rope.freq_base': float(model.rotaryBase),
    'rope.dimension_count': uint(head),
    ...(rotaryScaling?.kind === 'linear' && {
      'rope.scaling.type': text('linear'),
      'rope.scaling.factor': float(rotaryScaling.factor),
    }),
    ...(moe && {
      expert_count: uint(moe.experts),
      expert_used_count: uint(moe.k),
      ...(ownHidden && { expert_feed_forward_length: uint(moe.hidden) }),
      ...(moe.sharedHidden > 0 && { expert_shared_feed_forward_length: uint(moe.sharedHidden) }),
    }),
    ...(name.startsWith('granite') && {
      'attention.scale': float(attentionScaleOf(model)),
      embedding_scale: float(embeddingScaleOf(model)),
      residual_scale: float(model.residualScale),
      logit_scale: float(1 / headScaleOf(model)),
    }),
  }
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`${name}.${key}`, value]))
}
