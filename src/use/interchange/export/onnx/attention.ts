/**
 * Causal attention with a cache as ONNX nodes. Keys and values of earlier tokens come in as `past_key_values.L.key` and
 * `.value` [batch, kv heads, past, d], after rotation. They go out as `present.L.*`, extended by the new tokens.
 */
import { attentionScaleOf, headWidthOf, windowOf } from '../../../../core/model/config.ts'
import { rotationOf } from '../../../../core/model/rotary.ts'
import type { Value } from './builder.ts'
import { type Parts, parameter, rmsNorm } from './layers.ts'

/** Number added to scores of masked positions: far below any score, but finite, so a row without any key is not NaN. */
const MASKED = -1e30

/** Values that all layers share. */
export interface Positions {
  /** cos and sin of each token's angles [batch, 1, sequence, d/2]; null without rotary positions. */
  readonly angles: { readonly cos: Value; readonly sin: Value } | null
  /** Mask to add to the scores [batch, 1, sequence, past + sequence], for a window of positions; null: for all. */
  mask(window: number | null): Value
}

/**
 * Computes the shared values from `position_ids` [batch, sequence], `attention_mask` [batch, past + sequence], and any
 * layer's past keys.
 */
export function positionsOf(parts: Parts, positionIds: Value, attentionMask: Value, pastKeys: Value): Positions {
  const { graph, config } = parts
  const index = (value: Value) => graph.op('Squeeze', [value, graph.ints([0])])
  const past = index(graph.op('Shape', [pastKeys], { start: 2, end: 3 }))
  const total = index(graph.op('Shape', [attentionMask], { start: 1, end: 2 }))
  const positions = (from: Value) => graph.op('Range', [from, total, graph.int(1)])
  const query = graph.op('Unsqueeze', [positions(past), graph.ints([1])])
  const key = positions(graph.int(0))
  const isText = graph.op('Greater', [graph.op('Unsqueeze', [attentionMask, graph.ints([1, 2])]), graph.int(0)])
  const masks = new Map<number | null, Value>()
  return {
    angles: config.positions === 'rotary' ? rotaryAngles(parts, positionIds) : null,
    mask(window) {
      const known = masks.get(window)
      if (known) return known
      const isEarlier = graph.op('LessOrEqual', [key, query])
      const isNear = (width: number) => graph.op('Greater', [key, graph.op('Sub', [query, graph.int(width)])])
      const isVisible = window === null ? isEarlier : graph.op('And', [isEarlier, isNear(window)])
      const mask = graph.op('Where', [graph.op('And', [isVisible, isText]), graph.float(0), graph.float(MASKED)])
      masks.set(window, mask)
      return mask
    },
  }
}

/** Minimum number of positions in tables of angles: a text may be longer than the sequences of training. */
const MIN_POSITIONS = 4096

/** Rows of tables for the positions. The tables are computed in float64, as in training. */
function rotaryAngles({ graph, config }: Parts, positionIds: Value): { cos: Value; sin: Value } {
  const { frequencies, scale } = rotationOf(config)
  const length = Math.max(config.sequence, MIN_POSITIONS)
  const shape = [length, frequencies.length]
  const rows = (f: (angle: number) => number) => {
    const table = Float32Array.from({ length: length * frequencies.length }, (_, i) => {
      const [position, pair] = [Math.floor(i / frequencies.length), i % frequencies.length]
      return scale * f(position * (frequencies[pair] as number))
    })
    return graph.op('Unsqueeze', [graph.op('Gather', [graph.floats(table, shape), positionIds]), graph.ints([1])])
  }
  return { cos: rows(Math.cos), sin: rows(Math.sin) }
}

/** The projections of a layer's attention by matrices or by experts; the results are [batch, sequence, columns]. */
export interface Projections {
  qkv(x: Value): Value
  output(y: Value): Value
}

/** Attention of a layer on its normed input [batch, sequence, D]; adds its cache to the inputs and outputs. */
export function attention(
  parts: Parts,
  layer: number,
  { qkv, output }: Projections,
  x: Value,
  { angles, mask }: Positions,
  past: CachePorts,
): Value {
  const { graph, config } = parts
  const { heads, queryKeyNorm } = config
  const keyValueHeads = config.keyValueHeads ?? heads
  const head = headWidthOf(config)
  const columns = graph.ints([heads * head, keyValueHeads * head, keyValueHeads * head])
  const [q, k, v] = graph.ops('Split', [qkv(x), columns], 3, { axis: -1 }) as [Value, Value, Value]

  const name = `layers.${layer}.attention`
  const byHead = (value: Value, count: number) => graph.op('Reshape', [value, graph.ints([0, 0, count, head])])
  const normed = (value: Value, count: number, weight: string) => {
    if (queryKeyNorm === 'none') return byHead(value, count)
    const of = (rows: Value) => rmsNorm(parts, rows, parameter(parts, `${name}.${weight}`))
    return queryKeyNorm === 'head' ? of(byHead(value, count)) : byHead(of(value), count)
  }
  const headsFirst = (value: Value) => graph.op('Transpose', [value], { perm: [0, 2, 1, 3] })
  const rotated = (value: Value) => (angles ? rotate(parts, value, angles) : value)
  const query = rotated(headsFirst(normed(q, heads, 'queryNorm')))
  const key = past.extend('key', rotated(headsFirst(normed(k, keyValueHeads, 'keyNorm'))))
  const value = past.extend('value', headsFirst(byHead(v, keyValueHeads)))

  const scores = { graph, config, mask: mask(windowOf(config, layer)) }
  const y = attend(scores, graph.op('Mul', [query, graph.float(attentionScaleOf(config))]), key, value)
  return output(graph.op('Reshape', [headsFirst(y), graph.ints([0, 0, heads * head])]))
}

/** softmax(q·kᵀ + mask)·v [batch, heads, sequence, d]. Query heads that share keys get an axis of their own. */
function attend(
  { graph, config, mask }: Pick<Parts, 'graph' | 'config'> & { readonly mask: Value },
  query: Value,
  key: Value,
  value: Value,
): Value {
  const { heads } = config
  const keyValueHeads = config.keyValueHeads ?? heads
  const isShared = keyValueHeads !== heads
  const head = headWidthOf(config)
  const apart = (x: Value) => (isShared ? graph.op('Unsqueeze', [x, graph.ints([2])]) : x)
  const grouped = isShared
    ? graph.op('Reshape', [query, graph.ints([0, keyValueHeads, heads / keyValueHeads, -1, head])])
    : query
  const keys = apart(graph.op('Transpose', [key], { perm: [0, 1, 3, 2] }))
  const scores = graph.op('Add', [graph.op('MatMul', [grouped, keys]), apart(mask)])
  const y = graph.op('MatMul', [graph.op('Softmax', [scores], { axis: -1 }), apart(value)])
  return isShared ? graph.op('Reshape', [y, graph.ints([0, heads, -1, head])]) : y
}

/** Rotates pairs (x[i], x[i + d/2]) of each head (RoFormer, half-split). */
function rotate({ graph, config }: Parts, x: Value, { cos, sin }: { cos: Value; sin: Value }): Value {
  const half = headWidthOf(config) / 2
  const [first, second] = graph.ops('Split', [x, graph.ints([half, half])], 2, { axis: -1 }) as [Value, Value]
  const product = (a: Value, b: Value) => graph.op('Mul', [a, b])
  return graph.op(
    'Concat',
    [
      graph.op('Sub', [product(first, cos), product(second, sin)]),
      graph.op('Add', [product(second, cos), product(first, sin)]),
    ],
    { axis: -1 },
  )
}

/** The cache of a layer. */
export interface CachePorts {
  /** The keys or values of all tokens: the cached ones, then the new ones. */
  extend(kind: 'key' | 'value', fresh: Value): Value
}

/** Names of a layer's cache, as transformers.js and Optimum expect them. */
export const cacheNames = (layer: number, kind: 'key' | 'value') => ({
  past: `past_key_values.${layer}.${kind}`,
  present: `present.${layer}.${kind}`,
})

/** Declares the inputs and outputs of the caches of all layers. */
export function cachesOf({ graph, config }: Pick<Parts, 'graph' | 'config'>): CachePorts[] {
  const shape = (length: string) => ['batch_size', config.keyValueHeads ?? config.heads, length, headWidthOf(config)]
  const kinds = ['key', 'value'] as const
  return Array.from({ length: config.layers }, (_, layer) => {
    const past = Object.fromEntries(
      kinds.map((kind) => [kind, graph.input(cacheNames(layer, kind).past, 'float32', shape('past_sequence_length'))]),
    ) as Record<'key' | 'value', Value>
    return {
      extend(kind, fresh) {
        const all = graph.op('Concat', [past[kind], fresh], { axis: 2 })
        graph.output(cacheNames(layer, kind).present, all, 'float32', shape('total_sequence_length'))
        return all
      },
    }
  })
}
