/** The tensors of a model as llama.cpp names them. Experts of a layer are one tensor. */
import { attentionColumns, headWidthOf, type ModelConfig } from '../../../../core/model/config.ts'
import type { MoeConfig } from '../../../../core/model/moe-config.ts'
import { isSparse } from '../../../../core/model/parameters.ts'
import { rotationOf } from '../../../../core/model/rotary.ts'
import type { Part, TheirTensor } from '../../../foreign/architectures/contract.ts'
import { alike, linear } from '../../../foreign/architectures/tensors.ts'
import type { ExportDtype } from '../contract.ts'
import { bytesOfDtype, encode } from '../encode.ts'
import { gatherTensor } from '../their-tensors.ts'
import type { Weights } from '../weights.ts'
import type { GgufTensor } from './file.ts'

export interface TensorOptions {
  readonly dtype: ExportDtype
  /** Whether the architecture rotates pairs (x[2i], x[2i + 1]) instead of (x[i], x[i + d/2]). */
  readonly isInterleaved: boolean
  /** Whether the architecture has no tied head, so that the embedding of a tied model is written twice. */
  readonly needsHead: boolean
}

export function ggufTensors(model: ModelConfig, weights: Weights, options: TensorOptions): GgufTensor[] {
  const { dtype } = options
  const scaling = model.rotaryScaling?.kind === 'llama3' ? [rotaryFactors(model)] : []
  return [...tensorsOf(model, options).map((theirs) => stored(theirs, weights, dtype)), ...scaling]
}

/** Whether a tensor stays float32: llama.cpp keeps vectors and routers in float32. */
const isKeptWhole = ({ name, shape }: TheirTensor): boolean => shape.length === 1 || name.includes('ffn_gate_inp')

function stored(theirs: TheirTensor, weights: Weights, dtype: ExportDtype): GgufTensor {
  const type = isKeptWhole(theirs) ? 'float32' : dtype
  const { name, shape } = theirs
  const byteLength = bytesOfDtype[type] * shape.reduce((product, length) => product * length, 1)
  return { name, shape, type, byteLength, read: async () => encode(await gatherTensor(theirs, weights), type, name) }
}

function tensorsOf(model: ModelConfig, { isInterleaved, needsHead }: TensorOptions): TheirTensor[] {
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
      return isInterleaved && isRotated ? tensors.map((tensor) => interleaved(tensor, head)) : tensors
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

/** Puts the rows of each head in the order 0, d/2, 1, d/2 + 1, ..., so that a pair of the halves becomes neighbours. */
function interleaved({ name, shape, parts }: TheirTensor, head: number): TheirTensor {
  const rows = parts.flatMap((part) =>
    Array.from({ length: part.rows }, (_, row): Part => {
      const [first, within] = [row - (row % head), row % head]
      return { ...part, rows: 1, at: part.at + first + Math.floor(within / 2) + (within % 2) * (head / 2) }
    }),
  )
  return { name, shape, parts: rows }
}

/** Divisors of the angles of each pair, for Llama 3's scaling. */
function rotaryFactors(model: ModelConfig): GgufTensor {
  const plain = rotationOf({ ...model, rotaryScaling: null }).frequencies
  const scaled = rotationOf(model).frequencies
  const factors = Float32Array.from(plain, (frequency, i) => frequency / (scaled[i] as number))
  const read = async () => new Uint8Array(factors.buffer)
  return { name: 'rope_freqs.weight', shape: [factors.length], type: 'float32', byteLength: factors.byteLength, read }
}
