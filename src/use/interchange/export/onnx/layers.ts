/**
 * The parts of a layer as ONNX nodes: norms, feed-forward networks, routers and mixtures of experts without a capacity.
 * Rows are tokens; shapes are dynamic.
 *
 * The formulas of routers are in `docs/routing.md`, as they are outside training. Choice z·k + j of a token is the j-th
 * best expert of prototype z. Choices are sorted by expert, so each expert computes one run of consecutive rows, whose
 * length is known when the model runs and may be zero. The weighted rows then return to the places of their choices: a
 * choice has one place, so nothing is added to a place twice and the result does not depend on the order of threads.
 */
import { activatedExperts, type MoeConfig } from '../../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../../core/model/config.ts'
import type { Weights } from '../weights.ts'
import type { OnnxBuilder, Value } from './builder.ts'

/** The graph, configuration and weights, which every part needs. */
export interface Parts {
  readonly graph: OnnxBuilder
  readonly config: ModelConfig
  readonly weights: Weights
}

/** A parameter as a value of the graph. */
export function parameter({ graph, weights }: Parts, name: string): Value {
  return graph.weight(name, weights.shape(name), () => weights.read(name))
}

/** x times a constant. */
export const scaled = ({ graph }: Parts, x: Value, factor: number): Value =>
  factor === 1 ? x : graph.op('Mul', [x, graph.float(factor)])

/** The norm of the configuration, over the last axis, with the weights `name`. */
export function norm(parts: Parts, x: Value, name: string): Value {
  const { graph, config } = parts
  if (config.norm === 'rms') return rmsNorm(parts, x, parameter(parts, name))
  return graph.op('LayerNormalization', [x, parameter(parts, name), parameter(parts, `${name}.bias`)], {
    axis: -1,
    epsilon: { float: config.normEpsilon },
  })
}

/** x / √(mean x² + ε) · weight over the last axis. */
export function rmsNorm({ graph, config }: Parts, x: Value, weight: Value): Value {
  const mean = graph.op('ReduceMean', [graph.op('Mul', [x, x]), graph.ints([-1])], { keepdims: 1 })
  const root = graph.op('Sqrt', [graph.op('Add', [mean, graph.float(config.normEpsilon)])])
  return graph.op('Mul', [graph.op('Div', [x, root]), weight])
}

/** gelu(x·up)·down, or (silu(x·gate) ∘ x·up)·down. @param matrix Returns a matrix by its name: up, gate, down. */
export function ffn({ graph, config }: Parts, x: Value, matrix: (name: string) => Value): Value {
  const up = graph.op('MatMul', [x, matrix('up')])
  if (config.activation === 'gelu') return graph.op('MatMul', [gelu(graph, up), matrix('down')])
  const gate = graph.op('MatMul', [x, matrix('gate')])
  const silu = graph.op('Mul', [gate, graph.op('Sigmoid', [gate])])
  return graph.op('MatMul', [graph.op('Mul', [silu, up]), matrix('down')])
}

/** The exact GELU, x·(1 + erf(x/√2))/2. */
function gelu(graph: OnnxBuilder, x: Value): Value {
  const erf = graph.op('Erf', [graph.op('Mul', [x, graph.float(Math.SQRT1_2)])])
  const half = graph.op('Mul', [x, graph.float(0.5)])
  return graph.op('Mul', [half, graph.op('Add', [erf, graph.float(1)])])
}

/** The choices of every token, flat: choice c of token t is number t·K + c. */
export interface Choices {
  /** Expert of each choice, int64 [T·K]. */
  readonly experts: Value
  /** Gate of each choice [T·K, 1]. */
  readonly gates: Value
}

/** A number below any score, yet finite. */
const LOWEST = -3e38

/** ONNX's number of the type bool. */
const BOOL = 9

/** Chooses experts. @param logits [T, N]. @param bias [N], added to scores for the choice only; null: no bias. */
export function chooseExperts(graph: OnnxBuilder, moe: MoeConfig, logits: Value, bias: Value | null): Choices {
  const { prototypes, experts, k } = moe
  const byPrototype = graph.op('Reshape', [logits, graph.ints([-1, prototypes, experts / prototypes])])
  const score = scoresOf(graph, moe, byPrototype)
  const preferred = withinBestGroups(graph, moe, bias ? graph.op('Add', [score, bias]) : score)
  const [best, local] = graph.largest(preferred, k)
  const chosen = preferred === score ? best : graph.op('GatherElements', [score, local], { axis: -1 })
  const first = graph.ints(
    Array.from({ length: prototypes }, (_, z) => (z * experts) / prototypes),
    [prototypes, 1],
  )
  return {
    experts: graph.op('Reshape', [graph.op('Add', [local, first]), graph.ints([-1])]),
    gates: graph.op('Reshape', [gatesOf(graph, moe, chosen), graph.ints([-1, 1])]),
  }
}

/** Affinities by which experts are chosen, before any bias [T, Z, N/Z]. */
function scoresOf(graph: OnnxBuilder, moe: MoeConfig, logits: Value): Value {
  if (moe.scores === 'sigmoid') return graph.op('Sigmoid', [logits])
  return moe.softmax === 'before' ? graph.op('Softmax', [logits], { axis: -1 }) : logits
}

function gatesOf(graph: OnnxBuilder, moe: MoeConfig, chosen: Value): Value {
  let gates = moe.softmax === 'after' ? graph.op('Softmax', [chosen], { axis: -1 }) : chosen
  if (moe.renormalize) {
    const total = graph.op('ReduceSum', [gates, graph.ints([-1])], { keepdims: 1 })
    gates = graph.op('Div', [gates, total])
  }
  return moe.routedScale === 1 ? gates : graph.op('Mul', [gates, graph.float(moe.routedScale)])
}

/** Scores [T, 1, N], in which experts outside a token's best groups get the lowest score (DeepSeek-V2, V3). */
function withinBestGroups(graph: OnnxBuilder, moe: MoeConfig, score: Value): Value {
  const { experts, expertGroups, groupsPerToken, groupScore } = moe
  if (expertGroups === groupsPerToken) return score
  const byGroup = graph.op('Reshape', [score, graph.ints([-1, expertGroups, experts / expertGroups])])
  const count = groupScore === 'max' ? 1 : 2
  const [best] = graph.largest(byGroup, count)
  const ofGroup = graph.op('ReduceSum', [best, graph.ints([-1])], { keepdims: 0 })
  const [, groups] = graph.largest(ofGroup, groupsPerToken)
  const marks = oneHot(graph, groups, expertGroups)
  const isBest = graph.op('Cast', [graph.op('ReduceSum', [marks, graph.ints([1])], { keepdims: 0 })], { to: BOOL })
  const column = graph.op('Unsqueeze', [isBest, graph.ints([-1])])
  const kept = graph.op('Where', [column, byGroup, graph.float(LOWEST)])
  return graph.op('Reshape', [kept, graph.ints([-1, 1, experts])])
}

/** The experts that the token's id has in a table [V, k] (hash routing), each with gate `gate`. */
export function givenExperts(graph: OnnxBuilder, table: Value, tokens: Value, gate: number): Choices {
  const experts = graph.op('Reshape', [graph.op('Gather', [table, tokens]), graph.ints([-1])])
  const shape = graph.op('Shape', [graph.op('Unsqueeze', [experts, graph.ints([1])])])
  return { experts, gates: graph.op('Expand', [graph.float(gate), shape]) }
}

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
  const order = graph.ops('TopK', [experts, count], 2, { axis: 0, largest: 0, sorted: 1 })[1] as Value
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

/** Ones at the numbers, on a new last axis of length `depth`. */
const oneHot = (graph: OnnxBuilder, numbers: Value, depth: number): Value =>
  graph.op('OneHot', [numbers, graph.int(depth), graph.ints([0, 1])], { axis: -1 })
