/**
 * Routers as ONNX nodes: the choice of experts for each token, and their gates. The formulas are in `docs/routing.md`,
 * as they are outside training; nothing is dropped. Choice z·k + j of a token is the j-th best expert of prototype z.
 */
import type { MoeConfig } from '../../../../core/model/config/moe-config.ts'
import type { OnnxBuilder, Value } from './builder.ts'

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
  const [best, local] = graph.ops('TopK', [preferred, graph.ints([k])], 2, { axis: -1, largest: 1, sorted: 1 }) as [
    Value,
    Value,
  ]
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
  const [best] = graph.ops('TopK', [byGroup, graph.ints([count])], 2, { axis: -1, largest: 1, sorted: 1 }) as [Value]
  const ofGroup = graph.op('ReduceSum', [best, graph.ints([-1])], { keepdims: 0 })
  const [, groups] = graph.ops('TopK', [ofGroup, graph.ints([groupsPerToken])], 2, {
    axis: -1,
    largest: 1,
    sorted: 1,
  }) as [Value, Value]
  const marks = graph.op('OneHot', [groups, graph.int(expertGroups), graph.ints([0, 1])], { axis: -1 })
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
