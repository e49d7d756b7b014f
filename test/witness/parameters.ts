/**
 * The names and shapes of all parameters, and how the witness reads them: by name, as rows. A missing, unknown or
 * misshapen parameter is refused, so the witness also checks the naming.
 */

import type { MoeConfig } from '../../src/core/model/config/moe-config.ts'
import type { ModelConfig } from '../../src/core/model/config.ts'
import type { Matrix, Vector } from './arithmetic.ts'
import { headsOf } from './attention.ts'

/** Row-major data of each named parameter; matrices are [inputs, outputs]. */
export type Parameters = ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float64Array }>

/** The first `moe.from` layers are dense; of the others, the last of each `moe.every` is sparse. */
export function isSparse(config: ModelConfig, layer: number): boolean {
  if (config.moe === null) return false
  const { from, every } = config.moe
  for (let last = from + every - 1; last <= layer; last += every) if (last === layer) return true
  return false
}

/** Whether a projection of a layer's attention has experts: to queries, keys and values (`qkv`), or to the output. */
export function hasExperts(config: ModelConfig, layer: number, projection: 'qkv' | 'output'): boolean {
  if (!isSparse(config, layer)) return false
  return config.moe?.attention === 'all' || (config.moe?.attention === 'qkv' && projection === 'qkv')
}

/** Whether a projection of attention adds a vector. */
export const hasBias = ({ attentionBias }: ModelConfig, projection: 'qkv' | 'output'): boolean =>
  attentionBias === 'all' || (attentionBias === 'qkv' && projection === 'qkv')

/** Name → shape of every parameter that the configuration needs, in reading order. */
export function parameterShapes(config: ModelConfig): Map<string, readonly number[]> {
  const { vocabulary: V, width: D, sequence: S, moe } = config
  const gated = config.activation === 'swiglu'
  const { keyHeads, size } = headsOf(config)
  const queryColumns = config.heads * size
  const keyColumns = keyHeads * size
  const shapes = new Map<string, readonly number[]>()

  const addNorm = (name: string) => {
    shapes.set(name, [D])
    if (config.norm === 'layer') shapes.set(`${name}.bias`, [D])
  }
  /** `leading` is [N] for a stack of experts, [] for one feed-forward network. */
  const addFeedForward = (prefix: string, hidden: number, leading: readonly number[]) => {
    shapes.set(`${prefix}.up`, [...leading, D, hidden])
    if (gated) shapes.set(`${prefix}.gate`, [...leading, D, hidden])
    shapes.set(`${prefix}.down`, [...leading, hidden, D])
  }

  const addRouter = (prefix: string, { router, experts }: MoeConfig, inputs = D) => {
    if (router !== 'hash' && router !== 'random') shapes.set(`${prefix}.router`, [inputs, experts])
    if (router === 'bias') shapes.set(`${prefix}.router.bias`, [experts])
  }

  shapes.set('embedding', [V, D])
  if (config.positions === 'learned') shapes.set('positions', [S, D])
  for (let l = 0; l < config.layers; l++) {
    addNorm(`layers.${l}.attention.norm`)
    for (const [projection, inputs, columns] of [
      ['qkv', D, queryColumns + 2 * keyColumns],
      ['output', queryColumns, D],
    ] as const) {
      const name = `layers.${l}.attention.${projection}`
      if (moe && hasExperts(config, l, projection)) {
        addRouter(name, moe, inputs)
        shapes.set(`${name}.experts.weight`, [moe.experts, inputs, columns])
      } else shapes.set(name, [inputs, columns])
      if (hasBias(config, projection)) shapes.set(`${name}.bias`, [columns])
    }
    if (config.queryKeyNorm !== 'none') {
      const ofHead = config.queryKeyNorm === 'head'
      shapes.set(`layers.${l}.attention.queryNorm`, [ofHead ? size : queryColumns])
      shapes.set(`layers.${l}.attention.keyNorm`, [ofHead ? size : keyColumns])
    }
    if (moe && isSparse(config, l)) {
      addNorm(`layers.${l}.moe.norm`)
      addRouter(`layers.${l}.moe`, moe)
      addFeedForward(`layers.${l}.moe.experts`, moe.hidden, [moe.experts])
      if (moe.sharedHidden > 0) addFeedForward(`layers.${l}.moe.shared`, moe.sharedHidden, [])
      if (moe.sharedGate) shapes.set(`layers.${l}.moe.shared.mix`, [D, 1])
    } else {
      addNorm(`layers.${l}.ffn.norm`)
      addFeedForward(`layers.${l}.ffn`, config.hidden, [])
    }
  }
  addNorm('norm')
  if (!config.tied) shapes.set('head', [V, D])
  return shapes
}

/** @throws if a parameter is missing, unknown, of another shape, or has too few or too many elements. */
export function checkParameters(config: ModelConfig, parameters: Parameters): void {
  const shapes = parameterShapes(config)
  for (const [name, shape] of shapes) {
    const parameter = parameters.get(name)
    if (!parameter) throw new Error(`parameter "${name}" is missing (expected shape [${shape}])`)
    if (parameter.shape.join() !== shape.join())
      throw new Error(`parameter "${name}" has shape [${parameter.shape}] (expected [${shape}])`)
    const elements = shape.reduce((product, size) => product * size, 1)
    if (parameter.data.length !== elements)
      throw new Error(`parameter "${name}" has ${parameter.data.length} elements (expected ${elements})`)
  }
  for (const name of parameters.keys())
    if (!shapes.has(name))
      throw new Error(`parameter "${name}" is unknown (accepted: ${[...shapes.keys()].join(', ')})`)
}

function find(parameters: Parameters, name: string) {
  const parameter = parameters.get(name)
  if (!parameter) throw new Error(`parameter "${name}" is missing`)
  return parameter
}

export function vectorOf(parameters: Parameters, name: string): Vector {
  return [...find(parameters, name).data]
}

export function matrixOf(parameters: Parameters, name: string): Matrix {
  const { shape, data } = find(parameters, name)
  const [rows = 0, columns = 0] = shape
  return Array.from({ length: rows }, (_, i) => [...data.subarray(i * columns, (i + 1) * columns)])
}

/** One matrix for each expert of a parameter [N, inputs, outputs]. */
export function matricesOf(parameters: Parameters, name: string): readonly Matrix[] {
  const { shape, data } = find(parameters, name)
  const [experts = 0, rows = 0, columns = 0] = shape
  return Array.from({ length: experts }, (_, n) =>
    Array.from({ length: rows }, (_, i) => {
      const start = (n * rows + i) * columns
      return [...data.subarray(start, start + columns)]
    }),
  )
}
