/**
 * The whole network, from input to output: embed the tokens; in every layer add attention of the normed
 * activations, then the feed-forward network (dense or sparse) of the normed activations; norm once more
 * and compare with every token of the vocabulary.
 */

import type { MoeConfig } from '../../src/core/model/config/moe-config.ts'
import type { ModelConfig } from '../../src/core/model/config.ts'
import type { CapacityRule } from '../../src/core/model/routing/contract.ts'
import { add, at, dot, type Matrix, mean, project, rowOf, type Vector } from './arithmetic.ts'
import { attention, headsOf } from './attention.ts'
import { feedForward, mixture, projectByExperts, readExperts, readFeedForward } from './experts.ts'
import { hasBias, hasExperts, isSparse, matricesOf, matrixOf, type Parameters, vectorOf } from './parameters.ts'
import { type Routing, route } from './routing.ts'

/** RMS norm: x / √(mean(x²) + ε) · w (Zhang and Sennrich, eq. 4). */
export function rmsNorm(x: Vector, weight: Vector, epsilon: number): number[] {
  const scale = Math.sqrt(mean(x.map((value) => value * value)) + epsilon)
  return x.map((value, d) => (value / scale) * at(weight, d))
}

/** Layer norm: (x − mean) / √(var + ε) · w + b, with the biased variance (Ba et al., eq. 4). */
export function layerNorm(x: Vector, weight: Vector, bias: Vector, epsilon: number): number[] {
  const centre = mean(x)
  const scale = Math.sqrt(mean(x.map((value) => (value - centre) ** 2)) + epsilon)
  return x.map((value, d) => ((value - centre) / scale) * at(weight, d) + at(bias, d))
}

function norm(x_TD: Matrix, parameters: Parameters, name: string, config: ModelConfig): number[][] {
  const weight = vectorOf(parameters, name)
  if (config.norm === 'rms') return x_TD.map((x) => rmsNorm(x, weight, config.normEpsilon))
  const bias = vectorOf(parameters, `${name}.bias`)
  return x_TD.map((x) => layerNorm(x, weight, bias, config.normEpsilon))
}

/** The queries and keys of a row, normed over all their heads, or head by head with the same weights; values stay. */
function normQueriesAndKeys(row: Vector, query: Vector, key: Vector, config: ModelConfig): number[] {
  const { keyHeads, size } = headsOf(config)
  const queries = row.slice(0, config.heads * size)
  const keys = row.slice(config.heads * size, (config.heads + keyHeads) * size)
  const normed = (x: Vector, weight: Vector): number[] => {
    if (config.queryKeyNorm === 'width') return rmsNorm(x, weight, config.normEpsilon)
    const heads: number[] = []
    for (let from = 0; from < x.length; from += size)
      heads.push(...rmsNorm(x.slice(from, from + size), weight, config.normEpsilon))
    return heads
  }
  return [...normed(queries, query), ...normed(keys, key), ...row.slice((config.heads + keyHeads) * size)]
}

/** Whether a layer's window, if it has one, still has room for a token `distance` positions earlier. */
function inWindow({ window, fullEvery }: ModelConfig, layer: number, distance: number): boolean {
  if (window === null) return true
  const seesAll = fullEvery > 0 && layer % fullEvery === fullEvery - 1
  return seesAll || distance < window
}

/** A routed module: the feed-forward network of a layer, by its index, or a projection of its attention. */
export type Routed = number | `${number}.${'qkv' | 'output'}`

export interface TransformerInput {
  readonly config: ModelConfig
  readonly parameters: Parameters
  /** [B·S] token ids, sequence after sequence. */
  readonly tokens: Int32Array
  /** Number of sequences, B. */
  readonly batch: number
  readonly training: boolean
  readonly capacity: CapacityRule
  /** [T·K] expert ids, for the hash and random routers. */
  readonly choices?: ReadonlyMap<Routed, Int32Array>
  /** Id that opens a document: no token sees an earlier document. Default: every token sees all earlier tokens. */
  readonly separator?: number
}

/** Logits [T, V], and the routing of every router. */
export function transformer(input: TransformerInput): { logits_TV: number[][]; routings: Map<Routed, Routing> } {
  const { config, parameters, tokens, batch, training, capacity, choices, separator } = input
  const S = tokens.length / batch
  const embedding = matrixOf(parameters, 'embedding')

  /** Whether no document opens after `past`, up to and including `token`. */
  const sees = (token: number, past: number) => !tokens.slice(past + 1, token + 1).includes(separator ?? -1)

  let x_TD: number[][] = [...tokens].map((token) => [...rowOf(embedding, token)])
  if (config.positions === 'learned') {
    const positions = matrixOf(parameters, 'positions')
    x_TD = x_TD.map((x, t) => add(x, rowOf(positions, t % S)))
  }
  const embeddingScale = factorOf(config.embeddingScale, config.width)
  x_TD = x_TD.map((x) => x.map((value) => value * embeddingScale))

  /** Every branch is scaled before it joins the residual stream (Granite). */
  const addBranch = (x: Vector, branch: Vector) =>
    add(
      x,
      branch.map((value) => config.residualScale * value),
    )

  const routings = new Map<Routed, Routing>()
  for (let l = 0; l < config.layers; l++) {
    const layer = `layers.${l}`

    const attentionInput = norm(x_TD, parameters, `${layer}.attention.norm`, config)
    const projection = (module: 'qkv' | 'output') => (given_TD: Matrix) => {
      const name = `${layer}.attention.${module}`
      if (!config.moe || !hasExperts(config, l, module)) {
        const matrix = matrixOf(parameters, name)
        const projected = given_TD.map((given) => project(given, matrix))
        if (!hasBias(config, module)) return projected
        const bias = vectorOf(parameters, `${name}.bias`)
        return projected.map((row) => add(row, bias))
      }
      const [router, bias] = readRouter(parameters, name, config.moe)
      const routing = route(given_TD, router, choices?.get(`${l}.${module}`), config.moe, training, bias, capacity, S)
      routings.set(`${l}.${module}`, routing)
      return projectByExperts(given_TD, routing.assignments, matricesOf(parameters, `${name}.experts.weight`))
    }
    const qkv = (given_TD: Matrix) => {
      const rows = projection('qkv')(given_TD)
      if (config.queryKeyNorm === 'none') return rows
      const query = vectorOf(parameters, `${layer}.attention.queryNorm`)
      const key = vectorOf(parameters, `${layer}.attention.keyNorm`)
      return rows.map((row) => normQueriesAndKeys(row, query, key, config))
    }
    const visible = (token: number, past: number) => sees(token, past) && inWindow(config, l, token - past)
    const attended = attention(attentionInput, qkv, projection('output'), batch, config, visible)
    x_TD = x_TD.map((x, t) => addBranch(x, rowOf(attended, t)))

    let output_TD: number[][]
    if (config.moe && isSparse(config, l)) {
      const normed = norm(x_TD, parameters, `${layer}.moe.norm`, config)
      const [router, bias] = readRouter(parameters, `${layer}.moe`, config.moe)
      const routing = route(normed, router, choices?.get(l), config.moe, training, bias, capacity, S)
      const experts = readExperts(parameters, `${layer}.moe.experts`, config)
      const shared = config.moe.sharedHidden > 0 ? readFeedForward(parameters, `${layer}.moe.shared`, config) : null
      const mix = config.moe.sharedGate ? matrixOf(parameters, `${layer}.moe.shared.mix`) : null
      output_TD = mixture(normed, routing.assignments, experts, shared, mix)
      routings.set(l, routing)
    } else {
      const normed = norm(x_TD, parameters, `${layer}.ffn.norm`, config)
      const network = readFeedForward(parameters, `${layer}.ffn`, config)
      output_TD = normed.map((x) => feedForward(x, network))
    }
    x_TD = x_TD.map((x, t) => addBranch(x, rowOf(output_TD, t)))
  }

  const final = norm(x_TD, parameters, 'norm', config)
  const head = config.tied ? embedding : matrixOf(parameters, 'head')
  const headScale = factorOf(config.headScale, config.width)
  return { logits_TV: final.map((x) => head.map((row) => headScale * dot(x, row))), routings }
}

/** The values of `embeddingScale` and `headScale`, by name. */
function factorOf(scale: ModelConfig['embeddingScale'] | ModelConfig['headScale'], width: number): number {
  switch (scale) {
    case 'sqrt-width':
      return Math.sqrt(width)
    case 'third-width':
      return width / 3
    case 'inverse-sqrt-width':
      return 1 / Math.sqrt(width)
    default:
      return scale
  }
}

/** Weights of a learned router, else null, and the bias of the bias router. */
function readRouter(parameters: Parameters, name: string, { router }: MoeConfig): [Matrix | null, Vector | undefined] {
  const learned = router !== 'hash' && router !== 'random'
  return [
    learned ? matrixOf(parameters, `${name}.router`) : null,
    router === 'bias' ? vectorOf(parameters, `${name}.router.bias`) : undefined,
  ]
}
