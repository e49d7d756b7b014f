/**
 * A causal language model as an ONNX graph, for any batch and length, with a cache of keys and values. Inputs and
 * outputs have the names of Hugging Face's Optimum, which transformers.js reads:
 *
 *     input_ids, position_ids  int64 [batch_size, sequence_length]
 *     attention_mask           int64 [batch_size, total_sequence_length], 0 for padding; total = past + sequence
 *     past_key_values.L.key, .value    [batch_size, kv heads, past_sequence_length, d]
 *     logits                   [batch_size, sequence_length, V]
 *     present.L.key, .value    [batch_size, kv heads, total_sequence_length, d]
 *
 * Only standard ops are used. Nothing is dropped: experts have no capacity.
 */

import { moduleName, type RoutedModule } from '../../../../core/model/config/moe-config.ts'
import { attentionColumns, embeddingScaleOf, headScaleOf, type ModelConfig } from '../../../../core/model/config.ts'
import { isSparse, routedModules } from '../../../../core/model/parameters.ts'
import { hashTableOf } from '../../../../core/model/routing/hash.ts'
import type { Weights } from '../weights.ts'
import { attention, cacheNames, cachesOf, type Projections, positionsOf } from './attention.ts'
import { OnnxBuilder, type Value } from './builder.ts'
import {
  type Choices,
  chooseExperts,
  ffn,
  givenExperts,
  mixture,
  norm,
  type Parts,
  parameter,
  scaled,
} from './layers.ts'

/** Builds the graph of a model whose router can generate text; see `checkGenerates`. */
export function onnxModel(config: ModelConfig, weights: Weights): OnnxBuilder {
  const graph = new OnnxBuilder()
  const parts: Parts = { graph, config, weights }
  const ids = ['batch_size', 'sequence_length']
  const tokens = graph.input('input_ids', 'int64', ids)
  const attentionMask = graph.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length'])
  const positionIds = graph.input('position_ids', 'int64', ids)
  const caches = cachesOf(parts)
  const positions = positionsOf(parts, positionIds, attentionMask, cacheNames(0, 'key').past)

  const embedded = graph.op('Gather', [parameter(parts, 'embedding'), tokens])
  const withPositions =
    config.positions === 'learned'
      ? graph.op('Add', [embedded, graph.op('Gather', [parameter(parts, 'positions'), positionIds])])
      : embedded
  let x = scaled(parts, withPositions, embeddingScaleOf(config))
  const branch = (y: Value) => graph.op('Add', [x, scaled(parts, y, config.residualScale)])
  for (const [layer, cache] of caches.entries()) {
    const name = `layers.${layer}`
    x = graph.scope(`${name}.attention`, () => {
      const projections = projectionsOf(parts, layer, tokens)
      return branch(attention(parts, layer, projections, norm(parts, x, `${name}.attention.norm`), positions, cache))
    })
    x = isSparse(config, layer)
      ? graph.scope(`${name}.moe`, () => branch(sparse(parts, layer, norm(parts, x, `${name}.moe.norm`), tokens)))
      : graph.scope(`${name}.ffn`, () => {
          const normed = norm(parts, x, `${name}.ffn.norm`)
          return branch(ffn(parts, normed, (matrix) => parameter(parts, `${name}.ffn.${matrix}`)))
        })
  }
  graph.scope('head', () => {
    const final = scaled(parts, norm(parts, x, 'norm'), headScaleOf(config))
    const rows = graph.op('Reshape', [final, graph.ints([-1, config.width])])
    const head = parameter(parts, config.tied ? 'embedding' : 'head')
    const logits = graph.op('Gemm', [rows, head], { transB: 1 })
    const shape = graph.op('Concat', [graph.op('Shape', [tokens]), graph.ints([config.vocabulary])], { axis: 0 })
    graph.output('logits', graph.op('Reshape', [logits, shape]), 'float32', [...ids, config.vocabulary])
  })
  return graph
}

/** The feed-forward network of a sparse layer on its normed input [batch, sequence, D]. */
function sparse(parts: Parts, layer: number, x: Value, tokens: Value): Value {
  const { graph, config } = parts
  const { moe, width } = config
  const name = moduleName(layer, 'ffn')
  const rows = graph.op('Reshape', [x, graph.ints([-1, width])])
  const choices = choicesOf(parts, layer, 'ffn', rows, tokens)
  const routed = mixture(parts, rows, choices, width, (piece, e) =>
    ffn(parts, piece, (matrix) => parameter(parts, `${name}.experts.${e}.${matrix}`)),
  )
  if (!moe || moe.sharedHidden === 0) return graph.op('Reshape', [routed, graph.op('Shape', [x])])
  const shared = ffn(parts, rows, (matrix) => parameter(parts, `${name}.shared.${matrix}`))
  const mix = () => graph.op('Sigmoid', [graph.op('MatMul', [rows, parameter(parts, `${name}.shared.mix`)])])
  const gated = moe.sharedGate ? graph.op('Mul', [shared, mix()]) : shared
  return graph.op('Reshape', [graph.op('Add', [routed, gated]), graph.op('Shape', [x])])
}

function choicesOf(parts: Parts, layer: number, module: RoutedModule, rows: Value, tokens: Value): Choices {
  const { graph, config } = parts
  const { moe, vocabulary } = config
  if (!moe) throw new Error('internal: a router in a dense model')
  if (moe.router === 'hash') {
    const table = graph.ints(hashTableOf(config, layer, module), [vocabulary, moe.k])
    return givenExperts(graph, table, tokens, moe.routedScale / moe.k)
  }
  const name = `${moduleName(layer, module)}.router`
  const logits = graph.op('MatMul', [rows, parameter(parts, name)])
  return chooseExperts(graph, moe, logits, moe.router === 'bias' ? parameter(parts, `${name}.bias`) : null)
}

/** The projections of a layer's attention: matrices with their biases, or experts. */
function projectionsOf(parts: Parts, layer: number, tokens: Value): Projections {
  const { graph, config } = parts
  const routed = routedModules(config, layer)
  const { queries, keys } = attentionColumns(config)
  const project = (module: 'qkv' | 'output', rows: number, columns: number) => (x: Value) => {
    const name = moduleName(layer, module)
    if (!routed.includes(module)) {
      const y = graph.op('MatMul', [x, parameter(parts, name)])
      const hasBias = config.attentionBias === 'all' || config.attentionBias === module
      return hasBias ? graph.op('Add', [y, parameter(parts, `${name}.bias`)]) : y
    }
    const flat = graph.op('Reshape', [x, graph.ints([-1, rows])])
    const choices = choicesOf(parts, layer, module, flat, tokens)
    const y = mixture(parts, flat, choices, columns, (piece, e) =>
      graph.op('MatMul', [piece, parameter(parts, `${name}.experts.${e}.weight`)]),
    )
    const shape = graph.op('Concat', [graph.op('Shape', [tokens]), graph.ints([columns])], { axis: 0 })
    return graph.op('Reshape', [y, shape])
  }
  return { qkv: project('qkv', config.width, queries + 2 * keys), output: project('output', queries, config.width) }
}
