/** Tensors of which architectures are made. Their names are Llama's, which most other architectures share. */

import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import { attentionColumns, headWidthOf, type ModelConfig } from '../../../core/model/config.ts'
import { isSparse } from '../../../core/model/parameters.ts'
import type { TheirTensor } from './contract.ts'

/** A linear layer [out, in], whose rows are columns of our tensor from `at` on. */
export const linear = (name: string, shape: readonly [number, number], ours: string, at = 0): TheirTensor => ({
  name: `${name}.weight`,
  shape,
  parts: [{ rows: shape[0], ours, at, transposed: true }],
})

/** A tensor whose rows are rows of our tensor from `at` on: norms, biases, embeddings. */
export const alike = (name: string, shape: readonly [number, ...number[]], ours: string, at = 0): TheirTensor => ({
  name,
  shape,
  parts: [{ rows: shape[0], ours, at, transposed: false }],
})

/** Names of the matrices of a SwiGLU network. */
export type FfnNames = Readonly<Record<'gate' | 'up' | 'down', string>>

export const projNames: FfnNames = { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' }

export const swiglu = (
  prefix: string,
  names: FfnNames,
  { width, hidden }: { readonly width: number; readonly hidden: number },
  ours: string,
): TheirTensor[] => [
  linear(`${prefix}.${names.gate}`, [hidden, width], `${ours}.gate`),
  linear(`${prefix}.${names.up}`, [hidden, width], `${ours}.up`),
  linear(`${prefix}.${names.down}`, [width, hidden], `${ours}.down`),
]

/** The router, and every expert as tensors of its own. */
export const separateExperts = (
  model: ModelConfig,
  moe: MoeConfig,
  layer: number,
  { prefix, router, names }: { readonly prefix: string; readonly router: string; readonly names: FfnNames },
): TheirTensor[] => [
  linear(`${prefix}.${router}`, [moe.experts, model.width], `layers.${layer}.moe.router`),
  ...Array.from({ length: moe.experts }, (_, e) =>
    swiglu(
      `${prefix}.experts.${e}`,
      names,
      { width: model.width, hidden: moe.hidden },
      `layers.${layer}.moe.experts.${e}`,
    ),
  ).flat(),
]

/** Prefix of a layer's tensors in their files. */
export const layerName = (layer: number): string => `model.layers.${layer}`

/** All tensors of a decoder. @param sparse Returns the tensors of the router and experts of a sparse layer. */
export function decoderTensors(
  model: ModelConfig,
  sparse: (moe: MoeConfig, layer: number) => readonly TheirTensor[],
): TheirTensor[] {
  const { vocabulary, width, layers, hidden, moe, tied } = model
  return [
    alike('model.embed_tokens.weight', [vocabulary, width], 'embedding'),
    ...Array.from({ length: layers }, (_, layer) => {
      const [theirs, ours] = [layerName(layer), `layers.${layer}`]
      const experts = moe && isSparse(model, layer) ? moe : null
      return [
        alike(`${theirs}.input_layernorm.weight`, [width], `${ours}.attention.norm`),
        ...attentionTensors(model, layer),
        alike(`${theirs}.post_attention_layernorm.weight`, [width], `${ours}.${experts ? 'moe' : 'ffn'}.norm`),
        ...(experts ? sparse(experts, layer) : swiglu(`${theirs}.mlp`, projNames, { width, hidden }, `${ours}.ffn`)),
      ]
    }).flat(),
    alike('model.norm.weight', [width], 'norm'),
    ...(tied ? [] : [alike('lm_head.weight', [vocabulary, width], 'head')]),
  ]
}

function attentionTensors(model: ModelConfig, layer: number): TheirTensor[] {
  const { width, queryKeyNorm, attentionBias } = model
  const { queries, keys } = attentionColumns(model)
  const [theirs, ours] = [`${layerName(layer)}.self_attn`, `layers.${layer}.attention`]
  const runs = [
    { name: `${theirs}.q_proj`, size: queries, at: 0 },
    { name: `${theirs}.k_proj`, size: keys, at: queries },
    { name: `${theirs}.v_proj`, size: keys, at: queries + keys },
  ]
  const head = headWidthOf(model)
  const normed = (size: number): [number] => [queryKeyNorm === 'head' ? head : size]
  return [
    ...runs.flatMap(({ name, size, at }) => [
      linear(name, [size, width], `${ours}.qkv`, at),
      ...(attentionBias === 'none' ? [] : [alike(`${name}.bias`, [size], `${ours}.qkv.bias`, at)]),
    ]),
    linear(`${theirs}.o_proj`, [width, queries], `${ours}.output`),
    ...(attentionBias === 'all' ? [alike(`${theirs}.o_proj.bias`, [width], `${ours}.output.bias`)] : []),
    ...(queryKeyNorm === 'none'
      ? []
      : [
          alike(`${theirs}.q_norm.weight`, normed(queries), `${ours}.queryNorm`),
          alike(`${theirs}.k_norm.weight`, normed(keys), `${ours}.keyNorm`),
        ]),
  ]
}
