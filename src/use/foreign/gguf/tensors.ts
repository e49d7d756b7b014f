/** The tensors of a model as llama.cpp names them. Experts of a layer are one tensor. */

import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import { attentionColumns, headWidthOf, type ModelConfig } from '../../../core/model/config.ts'
import { isSparse } from '../../../core/model/parameters.ts'
import { rotationOf } from '../../../core/model/rotary.ts'
import type { TheirTensor } from '../architectures/contract.ts'
import { alike, linear } from '../architectures/tensors.ts'

export interface GgufTensorOptions {
  /** Whether the architecture rotates pairs (x[2i], x[2i + 1]) instead of (x[i], x[i + d/2]). */
  readonly isInterleaved: boolean
  /** Whether the architecture has no tied head, so that the embedding of a tied model is written twice. */
  readonly needsHead: boolean
}

/** Name of the tensor with the divisors of the angles of each pair, for Llama 3's scaling. */
export const ROTARY_DIVISORS = 'rope_freqs.weight'

/** The divisors in the tensor {@link ROTARY_DIVISORS}: [d/2]. */
export function rotaryDivisors(model: ModelConfig): Float32Array {
  const plain = rotationOf({ ...model, rotaryScaling: null }).frequencies
  const scaled = rotationOf(model).frequencies
  return Float32Array.from(plain, (frequency, i) => frequency / (scaled[i] as number))
}

/** The tensors of a model in a GGUF file, in order. */
export function ggufTensorsOf(model: ModelConfig, { isInterleaved, needsHead }: GgufTensorOptions): TheirTensor[] {
  const { vocabulary, width, layers, moe, tied } = model
  return [
    alike('token_embd.weight', [vocabulary, width], 'embedding'),
    ...Array.from({ length: layers }, (_, layer) => {
      const [theirs, ours] = [`blk.${layer}`, `layers.${layer}`]
      const experts = moe && isSparse(model, layer) ? moe : null
      return [
        alike(`${theirs}.attn_norm.weight`, [width], `${ours}.attention.norm`),
        ...attentionTensors(model, theirs, `${ours}.attention`, isInterleaved),
        alike(`${theirs}.ffn_norm.weight`, [width], `${ours}.${experts ? 'moe' : 'ffn'}.norm`),
        ...(experts
          ? expertTensors(model, experts, theirs, `${ours}.moe`)
          : network(`${theirs}.ffn`, '', width, model.hidden, `${ours}.ffn`)),
      ]
    }).flat(),
    alike('output_norm.weight', [width], 'norm'),
    ...(!tied || needsHead ? [alike('output.weight', [vocabulary, width], tied ? 'embedding' : 'head')] : []),
  ]
}

const matrices = ['gate', 'up', 'down'] as const

const network = (prefix: string, suffix: string, width: number, hidden: number, ours: string): TheirTensor[] =>
  matrices.map((matrix) =>
    linear(`${prefix}_${matrix}${suffix}`, matrix === 'down' ? [width, hidden] : [hidden, width], `${ours}.${matrix}`),
  )

function expertTensors({ width }: ModelConfig, moe: MoeConfig, theirs: string, ours: string): TheirTensor[] {
  const { experts, hidden } = moe
  return [
    linear(`${theirs}.ffn_gate_inp`, [experts, width], `${ours}.router`),
    ...matrices.map((matrix): TheirTensor => {
      const [rows, columns] = matrix === 'down' ? [width, hidden] : [hidden, width]
      return {
        name: `${theirs}.ffn_${matrix}_exps.weight`,
        shape: [experts, rows, columns],
        parts: Array.from({ length: experts }, (_, e) => ({
          rows,
          ours: `${ours}.experts.${e}.${matrix}`,
          at: 0,
          transposed: true,
        })),
      }
    }),
    ...(moe.sharedHidden > 0 ? network(`${theirs}.ffn`, '_shexp', width, moe.sharedHidden, `${ours}.shared`) : []),
    ...(moe.sharedGate ? [alike(`${theirs}.ffn_gate_inp_shexp.weight`, [width], `${ours}.shared.mix`)] : []),
  ]
}

function attentionTensors(model: ModelConfig, theirs: string, ours: string, isInterleaved: boolean): TheirTensor[] {
  const { width, queryKeyNorm, attentionBias } = model
  const { queries, keys } = attentionColumns(model)
  const head = headWidthOf(model)
  const runs = [
    { name: 'q', size: queries, at: 0, isRotated: true },
    { name: 'k', size: keys, at: queries, isRotated: true },
    { name: 'v', size: keys, at: queries + keys, isRotated: false },
  ]
  const normed = (size: number): [number] => [queryKeyNorm === 'head' ? head : size]
  return [
    ...runs.flatMap(({ name, size, at, isRotated }) => {
      const tensors = [linear(`${theirs}.attn_${name}`, [size, width], `${ours}.qkv`, at)]
      if (attentionBias !== 'none') tensors.push(alike(`${theirs}.attn_${name}.bias`, [size], `${ours}.qkv.bias`, at))
      return isInterleaved && isRotated ? tensors.map((tensor) => inPairs(tensor, head)) : tensors
    }),
    linear(`${theirs}.attn_output`, [width, queries], `${ours}.output`),
    ...(attentionBias === 'all' ? [alike(`${theirs}.attn_output.bias`, [width], `${ours}.output.bias`)] : []),
    ...(queryKeyNorm === 'none'
      ? []
      : [
          alike(`${theirs}.attn_q_norm.weight`, normed(queries), `${ours}.queryNorm`),
          alike(`${theirs}.attn_k_norm.weight`, normed(keys), `${ours}.keyNorm`),
        ]),
  ]
}

const inPairs = ({ parts, ...tensor }: TheirTensor, head: number): TheirTensor => ({
  ...tensor,
  parts: parts.map((part) => ({ ...part, interleaved: head })),
})
