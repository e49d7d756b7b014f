/**
 * The model: a decoder-only transformer with dense and sparse layers.
 *
 * Shape suffixes, here and below: T tokens, B batch, S sequence, D model width, F expert hidden
 * width, N experts, Z prototypes, K activated experts, C capacity, G groups, R slots, H heads,
 * V vocabulary.
 */
import { linearCrossEntropies } from '../graph/ops/cross-entropy.ts'
import { add, multiply } from '../graph/ops/elementwise.ts'
import { gather } from '../graph/ops/indexing.ts'
import { matmul } from '../graph/ops/matmul.ts'
import { reshape } from '../graph/ops/shape.ts'
import { constant, input, scope, type Tensor } from '../graph/tensor.ts'
import { attention, type Projections, type QueryKeyNorms } from './attention.ts'
import { activatedExperts, moduleName, type RoutedModule } from './config/moe-config.ts'
import { headScaleOf, type ModelConfig } from './config.ts'
import { ffn } from './ffn.ts'
import { embed, layers, scaled } from './layers.ts'
import { moeLayer, moeProjection, type Pass, type RoutingReport } from './moe.ts'
import { applyLayer, type LayerOutput, layerParameters } from './own/layer.ts'
import { ownLayerName, type Parameters, routedModules } from './parameters.ts'
import { hashTableOf } from './routing/hash.ts'

export interface Activations {
  /** The activations after the final norm [T, D]. */
  readonly x_TD: Tensor
  /** The residual stream before each layer, and after the last [T, D]. */
  readonly stream: readonly Tensor[]
  readonly reports: readonly RoutingReport[]
  /** The losses that layers of the user's own have, scalars. */
  readonly layerLosses: readonly Tensor[]
}

/** Name of the input with the choices of a random router in a layer. */
export const choicesName = (layer: number, module: RoutedModule = 'ffn'): string =>
  `${moduleName(layer, module)}.choices`

/** The model up to the head. tokens_T is int32. */
export function transformer(config: ModelConfig, parameters: Parameters, tokens_T: Tensor, pass: Pass): Activations {
  const { moe } = config
  const reports: RoutingReport[] = []
  const routed = (module: RoutedModule, x_TD: Tensor, layer: number): Tensor => {
    if (!moe) throw new Error('internal: experts in a dense model')
    const given = givenExperts(config, layer, module, tokens_T, pass)
    const inputs = { config, moe, parameters, layer, x_TD, tokens_T, ...given, pass }
    const { y_TX, report } = module === 'ffn' ? moeLayer(inputs) : moeProjection(inputs, module)
    reports.push(report)
    return y_TX
  }
  const layerLosses: Tensor[] = []
  const own = (x_TD: Tensor, index: number): Tensor => {
    const { y_TD, loss } = ownLayer(config, parameters, index, x_TD, tokens_T, pass)
    if (loss) layerLosses.push(loss)
    return y_TD
  }
  const projections = (layer: number): Projections => {
    const modules = routedModules(config, layer)
    const project = (module: 'qkv' | 'output') => (x_TD: Tensor) =>
      modules.includes(module)
        ? scope(module, () => routed(module, x_TD, layer))
        : linear(config, parameters, layer, module, (weights) => matmul(x_TD, weights))
    return { qkv: project('qkv'), output: project('output') }
  }
  const embedded = scope('embedding', () =>
    embed(config, (table) => gather(parameters.get(table), table === 'embedding' ? tokens_T : positionsOf(pass))),
  )
  const { x: x_TD, stream } = layers(config, parameters, embedded, {
    attend: (x_TD, layer) =>
      attention(config, layer, { ...projections(layer), norms: queryKeyNorms(config, parameters, layer) }, x_TD, pass),
    dense: ffn,
    addExperts: (x_TD, normed_TD, layer) => add(x_TD, scaled(routed('ffn', normed_TD, layer), config.residualScale)),
    own,
  })
  return { x_TD, stream, reports, layerLosses }
}

/** The user's own layer at an index: its output [T, D], and its loss if it has one. */
export function ownLayer(
  config: ModelConfig,
  parameters: Parameters,
  index: number,
  x_TD: Tensor,
  tokens_T: Tensor,
  { sequence, training }: Pick<Pass, 'sequence' | 'training'>,
): LayerOutput {
  if (!config.layer) throw new Error("internal: a model without the user's own layer")
  const names = Object.keys(layerParameters(config))
  const weights = Object.fromEntries(names.map((key) => [key, parameters.get(`${ownLayerName(index)}.${key}`)]))
  return applyLayer(config.layer, { x_TD, weights, tokens_T, sequence, training })
}

/** A projection of attention that is not routed: the product that `multiply` computes with its matrix, and its bias. */
export function linear(
  config: ModelConfig,
  parameters: Parameters,
  layer: number,
  module: 'qkv' | 'output',
  multiply: (weights: Tensor) => Tensor,
): Tensor {
  const name = moduleName(layer, module)
  const y = multiply(parameters.get(name))
  const hasBias = config.attentionBias === 'all' || config.attentionBias === module
  return hasBias ? add(y, parameters.get(`${name}.bias`)) : y
}

/** The weights of the norms of a layer's queries and keys. */
export function queryKeyNorms(config: ModelConfig, parameters: Parameters, layer: number): QueryKeyNorms {
  if (config.queryKeyNorm === 'none') return null
  const name = `layers.${layer}.attention`
  return { query: parameters.get(`${name}.queryNorm`), key: parameters.get(`${name}.keyNorm`) }
}

/** The position of each token in its sequence, int32 [T]. */
const positionsOf = ({ batch, sequence, past }: Pass): Tensor =>
  past?.position_T ??
  constant(
    Int32Array.from({ length: batch * sequence }, (_, t) => t % sequence),
    'int32',
  )

/**
 * The experts that a router does not choose: from the hash table of the layer, or an input of the program, for a router
 * without weights and for a replay.
 */
function givenExperts(
  config: ModelConfig,
  layer: number,
  module: RoutedModule,
  tokens_T: Tensor,
  { replay = false }: Pass,
): { given_TK?: Tensor; replayed_TK?: Tensor } {
  const { moe, vocabulary } = config
  if (moe?.router === 'hash') {
    const table = constant(hashTableOf(config, layer, module), 'int32', [vocabulary, moe.k])
    return { given_TK: gather(table, tokens_T) }
  }
  if (!moe || !(replay || moe.router === 'random')) return {}
  const choices_TK = input(choicesName(layer, module), 'int32', [tokens_T.shape[0] as number, activatedExperts(moe)])
  return replay ? { replayed_TK: choices_TK } : { given_TK: choices_TK }
}

/** The matrix of the output projection [V, D]. */
const head = (config: ModelConfig, parameters: Parameters): Tensor => parameters.get(config.tied ? 'embedding' : 'head')

export interface Losses {
  /** Cross-entropy, nats a token: the mean over counted targets. */
  readonly loss: Tensor
  /** The cross-entropy of each target [T], nats; 0 for a target that is not counted. */
  readonly loss_T: Tensor
  /** Whether each target is the most probable token [T], int32: 1 or 0; 0 for a target that is not counted. */
  readonly greedy_T: Tensor
  /** The sum of the losses that layers of the user's own have; null if they have none. */
  readonly layerLoss: Tensor | null
  /** The minimised objective: cross-entropy plus the weighted losses of every router, and the losses of own layers. */
  readonly objective: Tensor
  readonly reports: readonly RoutingReport[]
  readonly stream: readonly Tensor[]
}

/** The losses of a pass over tokens [T] and targets [T], int32; positions with a negative target are not counted. */
export function losses(
  config: ModelConfig,
  parameters: Parameters,
  tokens_T: Tensor,
  targets_T: Tensor,
  pass: Pass,
): Losses {
  const { x_TD, stream, reports, layerLosses } = transformer(config, parameters, tokens_T, pass)
  const [loss, loss_T, greedy_T] = scope('head', () =>
    linearCrossEntropies(scaled(x_TD, headScaleOf(config)), head(config, parameters), targets_T),
  )
  let objective = loss
  for (const { losses: router } of reports) {
    if (!router || !config.moe) continue
    const { balance, zLoss } = config.moe
    const { balanceCoefficient = balance.coefficient } = pass
    if (balance.coefficient > 0) objective = add(objective, multiply(router.balance, balanceCoefficient))
    if (zLoss > 0) objective = add(objective, multiply(router.z, zLoss))
  }
  for (const each of layerLosses) objective = add(objective, each)
  const layerLoss = layerLosses.length > 0 ? layerLosses.reduce((sum, each) => add(sum, each)) : null
  return { loss, loss_T, greedy_T, layerLoss, objective, reports, stream }
}

/** Logits [V] at one position of the pass; `position` is int32 [1]. */
export function logitsAt(config: ModelConfig, parameters: Parameters, x_TD: Tensor, position: Tensor): Tensor {
  return scope('head', () => reshape(headOf(config, parameters, gather(x_TD, position)), [config.vocabulary]))
}

/** Logits [T, V] of activations after the final norm [T, D]. */
export const logitsOf = (config: ModelConfig, parameters: Parameters, x_TD: Tensor): Tensor =>
  scope('head', () => headOf(config, parameters, x_TD))

const headOf = (config: ModelConfig, parameters: Parameters, x_TD: Tensor): Tensor =>
  matmul(scaled(x_TD, headScaleOf(config)), head(config, parameters), { transposeB: true })
