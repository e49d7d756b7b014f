/**
 * A mixture of experts as ONNX nodes, without a capacity.
 *
 * Choices are sorted by expert, so each expert computes one run of consecutive rows, whose length is known when the
 * model runs and may be zero. The weighted rows then return to the places of their choices: a choice has one place, so
 * nothing is added to a place twice and the result does not depend on the order of threads.
 */
import { activatedExperts } from '../../../../core/model/config/moe-config.ts'
import type { Value } from './builder.ts'
import type { Parts } from './layers.ts'
import type { Choices } from './router.ts'

/**
 * The sum of gate · expert(x) over the choices of each token. x is [T, D], and the result [T, `columns`].
 * @param expert Adds the nodes of one expert over its rows.
 */
export function mixture(
  { graph, config }: Parts,
  x: Value,
  { experts, gates }: Choices,
  columns: number,
  expert: (rows: Value, index: number) => Value,
): Value {
  const { moe } = config
  if (!moe) throw new Error('internal: a mixture of experts in a dense model')
  const [N, K] = [moe.experts, activatedExperts(moe)]
  const count = graph.op('Shape', [experts])
  const [, order] = graph.ops('TopK', [experts, count], 2, { axis: 0, largest: 0, sorted: 1 }) as [Value, Value]
  const loads = graph.op('ReduceSum', [oneHot(graph, experts, N), graph.ints([0])], { keepdims: 0 })
  const token = K === 1 ? order : graph.op('Div', [order, graph.int(K)])
  const rows = graph.op('Gather', [x, token], { axis: 0 })
  const pieces = N === 1 ? [rows] : graph.ops('Split', [rows, loads], N, { axis: 0 })
  const results = pieces.map((piece, e) => expert(piece, e))
  const joined = N === 1 ? (results[0] as Value) : graph.op('Concat', results, { axis: 0 })
  const weighted = graph.op('Mul', [joined, graph.op('Gather', [gates, order], { axis: 0 })])
  const empty = graph.op('Expand', [graph.float(0), graph.op('Concat', [count, graph.ints([columns])], { axis: 0 })])
  const places = graph.op('Unsqueeze', [order, graph.ints([1])])
  const byChoice = graph.op('ScatterND', [empty, places, weighted])
  if (K === 1) return byChoice
  const byToken = graph.op('Reshape', [byChoice, graph.ints([-1, K, columns])])
  return graph.op('ReduceSum', [byToken, graph.ints([1])], { keepdims: 0 })
}

const oneHot = (graph: Parts['graph'], experts: Value, depth: number): Value =>
  graph.op('OneHot', [experts, graph.int(depth), graph.ints([0, 1])], { axis: -1 })
