/**
 * Computes one token at a time, with the keys and values of earlier tokens in a cache.
 *
 * A token needs little arithmetic and many reads of weights, and its experts are known only after the router
 * of a layer has run. So the pass is a chain of *stages*, cut after every router: a stage begins with one
 * expert of the previous sparse layer and ends with the choices of the next, or with the logits. The caller
 * binds the weights of the chosen expert; other experts are neither read nor copied, and have no nodes. If a
 * token has K experts, the other K − 1 run in a separate program.
 *
 * Stages share memory: `x.next` is bound to the memory of `x`, `normed.next` to the memory of `normed`, and
 * `layers.<l>.attention.keys.next` (`values.next`) to the cache itself, of which one row is written.
 */
import { cachedAttention, geluInOnePass, replaceRow } from '../../graph/ops/decode.ts'
import { add, multiply, sigmoid } from '../../graph/ops/elementwise.ts'
import { rotate, silu } from '../../graph/ops/fused.ts'
import { gather } from '../../graph/ops/indexing.ts'
import { matmul } from '../../graph/ops/matmul.ts'
import { reshape, split, transpose } from '../../graph/ops/shape.ts'
import { constant, input, scope, type Tensor } from '../../graph/tensor.ts'
import { normQueriesAndKeys } from '../attention.ts'
import { attentionScaleOf, headWidthOf, type ModelConfig, windowOf } from '../config.ts'
import { type FfnWeights, weightsOf } from '../ffn.ts'
import { embed, layers, scaled } from '../layers.ts'
import { activatedExperts, type Parameters, sharedMix } from '../parameters.ts'
import { hasRouterWeights, route, routerWeights } from '../routing/routers.ts'
import { linear, logitsAt, queryKeyNorms } from '../transformer.ts'

/** A part of the pass of a token. */
export interface DecodeStage {
  /** The sparse layer whose experts run after this stage; null if the stage ends with the logits. */
  readonly layer: number | null
  /**
   * Outputs by name: `x.next` [1, D] and `normed.next` [1, D], the experts' input; with a learned router also
   * `experts` int32 [1, K] and `gates` [1, K]. The last stage has `logits` [V] instead. Every stage has the caches
   * of its layers too.
   */
  readonly outputs: Readonly<Record<string, Tensor>>
}

export interface DecodePrograms {
  readonly stages: readonly DecodeStage[]
  /** Adds one expert to `x`; null if a token has only one expert in a layer, or none. */
  readonly expert: Readonly<Record<string, Tensor>> | null
}

/** Names of a layer's caches [P, KV, d], as inputs of the stages and outputs of {@link keysAndValues}. */
export const cacheName = (layer: number, kind: 'keys' | 'values'): string => `layers.${layer}.attention.${kind}`

const expertPrefix = 'expert.'

/** The matrix of the expert that an input of a stage is bound to; null for other inputs. */
export const expertMatrix = (port: string): string | null =>
  port.startsWith(expertPrefix) ? port.slice(expertPrefix.length) : null

/**
 * The programs of a token at a position below `length`, for a model without experts in attention. These inputs, besides
 * parameters and caches, are written before the token's first stage: `token` int32 [1], `position` int64 [1, 1],
 * `mask` [1, length] (0 up to the position, {@link MASKED} after it), `mask.window` (like `mask`, but {@link MASKED}
 * before the window too; for models with a window), `cos` and `sin` of the position's angles [1, d/2] (for rotary
 * positions). `weight` [1, 1], the gate of an expert times `residualScale`, is written before every expert.
 */
export function decodePrograms(config: ModelConfig, parameters: Parameters, length: number): DecodePrograms {
  const stages: DecodeStage[] = []
  let caches: Record<string, Tensor> = {}
  const end = (layer: number | null, outputs: Record<string, Tensor>) => {
    stages.push({ layer, outputs: { ...outputs, ...caches } })
    caches = {}
  }
  const { moe } = config
  const inputs = tokenInputs(config, length)
  const embedded = scope('embedding', () => {
    const rows = { embedding: input('token', 'int32', [1]), positions: reshape(inputs.position, [1]) }
    return embed(config, (table) => gather(parameters.get(table), rows[table]))
  })
  const { x } = layers(config, parameters, embedded, {
    attend(normed, layer) {
      const attended = attention(config, parameters, layer, normed, inputs)
      Object.assign(caches, attended.caches)
      return attended.y
    },
    dense: rowFfn,
    addExperts(x, normed, layer, moe) {
      const name = `layers.${layer}.moe`
      const choice = hasRouterWeights(moe)
        ? scope('router', () =>
            route({
              moe,
              x_TD: normed,
              weights: routerWeights({ moe, width: config.width }, parameters, `${name}.router`),
              tokens_T: input('token', 'int32', [1]),
              sequence: 1,
              training: false,
            }),
          )
        : null
      const shared = (matrix: string) => parameters.get(`${name}.shared.${matrix}`)
      const addShared = () => {
        const y = rowFfn(normed, weightsOf(config, shared))
        const mix = moe.sharedGate ? parameters.get(sharedMix(name)) : null
        return add(x, scaled(mix ? multiply(y, sigmoid(matmul(normed, mix))) : y, config.residualScale))
      }
      const withShared = moe.sharedHidden > 0 ? scope('shared', addShared) : x
      end(layer, {
        'x.next': withShared,
        'normed.next': normed,
        ...(choice && { experts: choice.expert_TK, gates: choice.gate_TK }),
      })
      return scope('experts', () => addExpert(config, moe.hidden))
    },
  })
  end(null, { logits: logitsAt(config, parameters, x, constant([0], 'int32')) })

  const hasMore = moe !== null && activatedExperts(moe) > 1
  return { stages, expert: hasMore ? { 'x.next': scope('experts', () => addExpert(config, moe.hidden)) } : null }
}

/** Number that is added to the scores of masked positions: far below any score, but finite. */
export const MASKED = -1e30

/** Inputs for the token's position, the same for every layer. */
function tokenInputs(config: ModelConfig, length: number) {
  const angles = [1, headWidthOf(config) / 2]
  return {
    length,
    position: input('position', 'int64', [1, 1]),
    mask: input('mask', 'float32', [1, length]),
    windowMask: input('mask.window', 'float32', [1, length]),
    cos: input('cos', 'float32', angles),
    sin: input('sin', 'float32', angles),
  }
}

type TokenInputs = ReturnType<typeof tokenInputs>

/** Attention of the token over the cache, and the cache with the token's key and value. x is [1, D]. */
function attention(config: ModelConfig, parameters: Parameters, layer: number, x: Tensor, inputs: TokenInputs) {
  const { length, position, mask, windowMask, cos, sin } = inputs
  const { heads } = config
  const keyHeads = config.keyValueHeads ?? heads
  const head = headWidthOf(config)
  const project = (x: Tensor, module: 'qkv' | 'output') =>
    linear(config, parameters, layer, module, (weights) => matmul(x, weights))
  const normed = normQueriesAndKeys(config, project(x, 'qkv'), queryKeyNorms(config, parameters, layer))
  const qkv = reshape(normed, [1, heads + 2 * keyHeads, 1, head])
  const [qk, v] = split(qkv, 1, [heads + keyHeads, keyHeads]) as [Tensor, Tensor]
  const rotated = config.positions === 'rotary' ? rotate(qk, cos, sin) : qk
  const [q, k] = split(rotated, 1, [heads, keyHeads]) as [Tensor, Tensor]
  const table = [length, keyHeads, head]
  const written = (kind: 'keys' | 'values', row: Tensor) =>
    replaceRow(input(cacheName(layer, kind), x.dtype, table), reshape(row, [1, keyHeads, head]), position)
  const [keys, values] = [written('keys', k), written('values', v)]
  const visible = windowOf(config, layer) === null ? mask : windowMask
  const queries = reshape(q, [keyHeads, heads / keyHeads, head])
  const y = cachedAttention(queries, keys, values, visible, attentionScaleOf(config))
  return {
    y: project(reshape(y, [1, heads * head]), 'output'),
    caches: { [`${cacheName(layer, 'keys')}.next`]: keys, [`${cacheName(layer, 'values')}.next`]: values },
  }
}

/** x plus the result of one expert times its gate. */
function addExpert(config: ModelConfig, hidden: number): Tensor {
  const row = [1, config.width]
  const weights = weightsOf(config, (matrix) =>
    input(`${expertPrefix}${matrix}`, 'float32', matrix === 'down' ? [hidden, config.width] : [config.width, hidden]),
  )
  const y = rowFfn(input('normed', 'float32', row), weights)
  return add(input('x', 'float32', row), multiply(y, input('weight', 'float32', [1, 1])))
}

/** `ffn` for one row [1, D], without scaled matmuls, which are slow for a single row. */
function rowFfn(x: Tensor, { up, gate, down }: FfnWeights): Tensor {
  if (gate) return matmul(multiply(silu(matmul(x, gate)), matmul(x, up)), down)
  return matmul(geluInOnePass(matmul(x, up)), down)
}

/**
 * Keys (after rotation) and values [1, S, KV, d] of every layer of a traced pass over one sequence, by
 * {@link cacheName}, as further outputs of the same program. They are found by walking back from `x_TD`.
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
    found[`${application.layer}.keys`] = transpose(keys, [0, 2, 1, 3])
    found[`${application.layer}.values`] = transpose(values, [0, 2, 1, 3])
  }
  for (let layer = 0; layer < config.layers; layer++)
    for (const kind of ['keys', 'values'] as const)
      if (!found[cacheName(layer, kind)]) throw new Error(`internal: no ${cacheName(layer, kind)} in the pass`)
  return found
}
