/**
 * Keys and values of earlier tokens: the names of the tables, their pages, their rows as inputs of a pass over a part of a
 * prompt, and the rows that the pass adds.
 */
import type { Angles } from '../graph/ops/attention.ts'
import { gather } from '../graph/ops/indexing.ts'
import { transpose } from '../graph/ops/shape.ts'
import { input, type Tensor } from '../graph/tensor.ts'
import { attentionColumns, headWidthOf, type ModelConfig } from './config.ts'

/** Name of a table of a layer. */
export const cacheName = (layer: number, kind: 'keys' | 'values'): string => `layers.${layer}.attention.${kind}`

/** Name of a table of a layer with the rows of the tokens of a program, which is an output beside the table as it was. */
export const nextCacheName = (layer: number, kind: 'keys' | 'values'): string => `${cacheName(layer, kind)}.next`

/**
 * Positions of a page, P: the tables consist of pages, of which a text has as many as it needs, anywhere in the tables
 * (PagedAttention, Kwon et al. 2023). A text wastes half a page on average; the kernels read a page in one piece.
 */
const PAGE = 64

/** Positions of a page of a model: not more than a text has. */
export const pageOf = ({ sequence }: Pick<ModelConfig, 'sequence'>): number => Math.min(PAGE, sequence)

/** Number of pages for some positions of a text. */
export const pagesFor = (config: Pick<ModelConfig, 'sequence'>, positions: number): number =>
  Math.ceil(positions / pageOf(config))

/** Earlier positions of a sequence, whose keys and values are known, and the places of the tokens after them. */
export interface Past {
  /** Number of rows, P. The last one is the position before the first token; `firstVisible_T` says which is the first. */
  readonly length: number
  /** Keys (after rotation) or values of a layer [P, KV·d]. */
  rows(layer: number, kind: 'keys' | 'values'): Tensor
  /** The position of each token, int32 [T]. */
  readonly position_T: Tensor
  /** cos and sin of the angles of these positions [T, d/2]; null if positions are not rotary. */
  readonly angles: Angles | null
}

/**
 * P earlier positions of T tokens as inputs: tables of `rows` rows [rows, KV·d] by {@link cacheName}, `past` int32 [P] with
 * the row of each earlier position in the tables, `position` int32 [T], and for rotary positions `cos` and `sin` [T, d/2].
 */
export function pastInputs(config: ModelConfig, tokens: number, length: number, rows: number): Past {
  const index = input('past', 'int32', [length])
  const table = [rows, attentionColumns(config).keys]
  const angle = (name: string) => input(name, 'float32', [tokens, headWidthOf(config) / 2])
  return {
    length,
    rows: (layer, kind) => gather(input(cacheName(layer, kind), 'float32', table), index),
    position_T: input('position', 'int32', [tokens]),
    angles: config.positions === 'rotary' ? [angle('cos'), angle('sin')] : null,
  }
}

/**
 * Keys (after rotation) and values [1, S, KV, d] of every layer of a traced pass over one sequence, by
 * {@link nextCacheName}, as further outputs of the same program. They are found by walking back from `x_TD`.
 */
export function keysAndValues(config: ModelConfig, x_TD: Tensor): Record<string, Tensor> {
  const found: Record<string, Tensor> = {}
  const seen = new Set<unknown>()
  const stack = [x_TD]
  for (let tensor = stack.pop(); tensor; tensor = stack.pop()) {
    const { application } = tensor
    if (!application || seen.has(application)) continue
    seen.add(application)
    stack.push(...application.inputs)
    if (application.op !== 'causal-attention') continue
    const [, keys, values] = application.inputs as [Tensor, Tensor, Tensor]
    found[`${application.layer}.keys.next`] = transpose(ownRows(keys), [0, 2, 1, 3])
    found[`${application.layer}.values.next`] = transpose(ownRows(values), [0, 2, 1, 3])
  }
  for (let layer = 0; layer < config.layers; layer++)
    for (const kind of ['keys', 'values'] as const)
      if (!found[nextCacheName(layer, kind)]) throw new Error(`internal: no ${cacheName(layer, kind)} in the pass`)
  return found
}

/** Keys or values of the tokens of a pass, without the rows of its past, which they follow. */
const ownRows = (rows: Tensor): Tensor =>
  rows.application?.op === 'concat' ? (rows.application.inputs.at(-1) as Tensor) : rows
