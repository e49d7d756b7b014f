/** The parts of a layer as ONNX nodes: norms and feed-forward networks. Rows are tokens; shapes are dynamic. */
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
